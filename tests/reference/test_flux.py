"""FLUX beside diffusers: the same pictures, files that each reads of the other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

import dpnb
from dpnb.pipelines.shapes.text_encoders import make_clip_tokenizer, make_t5_tokenizer
from tests.reference import checkpoints
from tests.reference.checkpoints import VOCABULARY, diffusers
from tests.reference.pictures import STEPS, assert_same, draw

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

VARIANTS = ("schnell", "dev")

SIZE = {"height": 32, "width": 32}

Checkpoint = Callable[[str], tuple[Path, Any]]


def network(*, guides: bool) -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        pooled_projection_dim=24,
        guidance_embeds=guides,
        axes_dims_rope=(4, 6, 6),
    )
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return transformer.eval()


def t5() -> Any:
    config = transformers.T5Config(
        vocab_size=200,
        d_model=24,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        feed_forward_proj="gated-gelu",
    )
    return transformers.T5EncoderModel(config).eval()


def pipeline(variant: str) -> Any:
    """A pipeline of diffusers with random weights."""
    torch.manual_seed(0)
    is_dev = variant == "dev"
    pipe = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            shift=3.0 if is_dev else 1.0, use_dynamic_shifting=is_dev
        ),
        vae=checkpoints.vae(
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=checkpoints.text_encoder(),
        tokenizer=make_clip_tokenizer(VOCABULARY),
        text_encoder_2=t5(),
        tokenizer_2=make_t5_tokenizer(200, 512),
        transformer=network(guides=is_dev),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """A folder that diffusers wrote, and the pipeline that it wrote."""

    @cache
    def write(variant: str) -> tuple[Path, Any]:
        folder, pipe = tmp_path_factory.mktemp(variant), pipeline(variant)
        pipe.save_pretrained(folder, max_shard_size="50KB")
        return folder, pipe

    return write


@pytest.fixture(scope="module")
def loaded(written: Checkpoint) -> Callable[[str], Any]:
    """Our pipeline of a variant, from the folder that diffusers wrote."""
    return cache(lambda variant: dpnb.DiffusionPipeline.from_pretrained(written(variant)[0]))


def test_the_transformer_was_written_in_shards(written: Checkpoint) -> None:
    assert len(list((written("dev")[0] / "transformer").glob("*-of-*.safetensors"))) > 1


def test_a_tokenizers_own_length_does_not_shorten_a_prompt(
    written: Checkpoint, loaded: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = []
    for pipe in (loaded("dev"), written("dev")[1]):
        monkeypatch.setattr(pipe.tokenizer_2, "model_max_length", 16)
        images.append(np.asarray(draw(pipe, "words " * 12, max_sequence_length=64, **SIZE)))
    assert_same(*images)


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_sequence_length": 256},
        {"guidance_scale": 7.0, "num_inference_steps": 7},
        {"height": 48, "width": 24},
        {"prompt": ["a cat", "two dogs"], "prompt_2": ["in a car", "at sea"]},
        {"num_images_per_prompt": 2},
        {"negative_prompt": "dull", "true_cfg_scale": 4.0},
        {
            "prompt": ["a", "b"],
            "negative_prompt": ["x", "y"],
            "negative_prompt_2": ["p", "q"],
            "true_cfg_scale": 2.0,
        },
        {"negative_prompt": "dull"},
        {"sigmas": [1.0, 0.6, 0.2]},
        {"prompt": "words " * 120, "max_sequence_length": 32},
        {"output_type": "latent"},
    ],
    ids=lambda arguments: "-".join(arguments),
)
def test_every_argument_means_the_same(
    written: Checkpoint, loaded: Callable[[str], Any], arguments: dict[str, Any]
) -> None:
    for variant in VARIANTS:
        arguments = {**SIZE, "max_sequence_length": 40, **arguments}
        one, other = (draw(pipe, **arguments) for pipe in (loaded(variant), written(variant)[1]))
        assert_same(np.asarray(one), np.asarray(other))


def test_positions_of_arguments_are_the_same(
    written: Checkpoint, loaded: Callable[[str], Any]
) -> None:
    given = ("a cat", "in a car", "dull", "grey", 3.0, 32, 16, 2, [1.0, 0.5], 5.0)
    one, other = (
        pipe(*given, generator=torch.Generator().manual_seed(0), output_type="np").images
        for pipe in (loaded("dev"), written("dev")[1])
    )
    assert_same(one, other)


def test_given_embeddings_and_latents_mean_the_same(
    written: Checkpoint, loaded: Callable[[str], Any]
) -> None:
    generator = torch.Generator().manual_seed(0)
    embeds: dict[str, Any] = {
        "prompt_embeds": torch.randn(2, 30, 24, generator=generator),
        "pooled_prompt_embeds": torch.randn(2, 24, generator=generator),
        "negative_prompt_embeds": torch.randn(2, 30, 24, generator=generator),
        "negative_pooled_prompt_embeds": torch.randn(2, 24, generator=generator),
        "latents": torch.randn(2, 64, 16, generator=generator),
    }
    arguments: dict[str, Any] = {**SIZE, **embeds, "true_cfg_scale": 3.0}
    assert_same(draw(loaded("dev"), None, **arguments), draw(written("dev")[1], None, **arguments))


def test_a_negative_prompt_of_another_length_means_the_same(
    written: Checkpoint, loaded: Callable[[str], Any]
) -> None:
    generator = torch.Generator().manual_seed(0)
    arguments: dict[str, Any] = {
        **SIZE,
        "prompt_embeds": torch.randn(1, 30, 24, generator=generator),
        "pooled_prompt_embeds": torch.randn(1, 24, generator=generator),
        "negative_prompt": "dull",
        "true_cfg_scale": 3.0,
        "max_sequence_length": 20,
    }
    ours = loaded("dev")
    plain = draw(ours, None, **arguments)
    assert_same(plain, draw(written("dev")[1], None, **arguments))
    with ours.strategies.using(dpnb.ConditioningCache()):
        assert np.array_equal(draw(ours, None, **arguments), plain)


def test_lists_of_generators_mean_the_same(
    written: Checkpoint, loaded: Callable[[str], Any]
) -> None:
    one, other = (
        draw(
            pipe,
            ["a", "b"],
            **SIZE,
            max_sequence_length=20,
            generator=[torch.Generator().manual_seed(seed) for seed in (1, 2)],
        )
        for pipe in (loaded("schnell"), written("schnell")[1])
    )
    assert_same(one, other)


def test_callbacks_see_and_change_the_same(
    written: Checkpoint, loaded: Callable[[str], Any]
) -> None:
    seen: list[tuple[int, float, tuple[int, ...]]] = []

    def change(pipe: Any, index: int, t: Tensor, tensors: dict[str, Any]) -> dict[str, Any]:
        shape = tuple(tensors["prompt_embeds"].shape)
        seen.append((index, round(float(t), 2), shape))
        return {
            "latents": tensors["latents"] * 1.01,
            "prompt_embeds": tensors["prompt_embeds"] * 0.9,
        }

    arguments: dict[str, Any] = {
        **SIZE,
        "max_sequence_length": 20,
        "callback_on_step_end": change,
        "callback_on_step_end_tensor_inputs": ["latents", "prompt_embeds"],
    }
    one, other = (draw(pipe, **arguments) for pipe in (loaded("dev"), written("dev")[1]))
    assert_same(one, other)
    assert seen[:STEPS] == seen[STEPS:]


@pytest.mark.parametrize("how", [{}, {"variant": "bf16", "max_shard_size": "40KB"}], ids=str)
def test_diffusers_draws_the_same_from_what_we_save(
    written: Checkpoint, loaded: Callable[[str], Any], how: dict[str, Any], tmp_path: Path
) -> None:
    ours = loaded("dev")
    with ours.strategies.using(dpnb.QKVFusion(), dpnb.ConditioningCache()):
        ours.save_pretrained(tmp_path, **how)
    variant = {"variant": how["variant"]} if how else {}
    theirs = written("dev")[1]
    expected = draw(theirs, **SIZE)
    for library in (diffusers, dpnb):
        again = library.DiffusionPipeline.from_pretrained(tmp_path, **variant)
        assert type(again).__name__ == "FluxPipeline"
        assert_same(draw(again, **SIZE), expected)
    settings = [
        json.loads((folder / "transformer" / "config.json").read_text())
        for folder in (tmp_path, written("dev")[0])
    ]
    keys = [{key for key in one if not key.startswith("_name")} for one in settings]
    assert keys[0] == keys[1]
    assert ours.transformer.state_dict().keys() == theirs.transformer.state_dict().keys()


def test_a_pipeline_of_diffusers_becomes_ours_around_the_same_tensors(
    written: Checkpoint,
) -> None:
    theirs = written("dev")[1]
    ours = dpnb.FluxPipeline.from_pipe(theirs)
    assert_same(draw(ours, **SIZE), draw(theirs, **SIZE))
    mine, given = (pipe.transformer.state_dict() for pipe in (ours, theirs))
    assert all(mine[key].data_ptr() == given[key].data_ptr() for key in given)


def test_bfloat16_draws_nearly_the_same(written: Checkpoint) -> None:
    folder = written("dev")[0]
    ours, theirs = (
        library.DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.bfloat16)
        for library in (dpnb, diffusers)
    )
    assert ours.dtype is torch.bfloat16
    assert np.abs(draw(ours, **SIZE) - draw(theirs, **SIZE)).mean() < 0.02


def test_half_of_a_pipeline_encodes_the_same(written: Checkpoint) -> None:
    """Text encoders and network may be loaded one after the other."""
    folder, theirs = written("dev")
    ours = dpnb.FluxPipeline.from_pretrained(folder, transformer=None, vae=None)
    with torch.no_grad():
        found, expected = (
            pipe.encode_prompt("a cat", "in a car", max_sequence_length=20)
            for pipe in (ours, theirs)
        )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    others = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    rest = dpnb.FluxPipeline.from_pretrained(folder, **others)
    embeds: dict[str, Any] = {"prompt_embeds": found[0], "pooled_prompt_embeds": found[1]}
    whole = draw(theirs, "a cat", prompt_2="in a car", max_sequence_length=20, **SIZE)
    assert_same(draw(rest, None, **embeds, **SIZE), whole)


FUSED = {
    "double_blocks_1_img_attn_qkv": [f"transformer_blocks.1.attn.to_{x}" for x in "qkv"],
    "double_blocks_0_txt_attn_qkv": [f"transformer_blocks.0.attn.add_{x}_proj" for x in "qkv"],
    "double_blocks_0_txt_attn_proj": ["transformer_blocks.0.attn.to_add_out"],
    "double_blocks_1_img_mlp_2": ["transformer_blocks.1.ff.net.2"],
    "double_blocks_1_img_mod_lin": ["transformer_blocks.1.norm1.linear"],
    "single_blocks_1_linear1": [
        *(f"single_transformer_blocks.1.attn.to_{x}" for x in "qkv"),
        "single_transformer_blocks.1.proj_mlp",
    ],
    "single_blocks_0_linear2": ["single_transformer_blocks.0.proj_out"],
}
"""Layers as kohya's scripts name them, and as diffusers does."""


@pytest.mark.parametrize("form", ["lora_unet_{}.lora_{}", "diffusion_model.{}.lora_{}"])
@pytest.mark.filterwarnings("ignore")
def test_low_rank_weights_draw_the_same(written: Checkpoint, form: str) -> None:
    folder, _ = written("dev")
    ours: Any = dpnb.DiffusionPipeline.from_pretrained(folder)
    theirs = diffusers.FluxPipeline.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    fused: dict[str, Tensor] = {}
    apart: dict[str, Tensor] = {}
    for key, layers in FUSED.items():
        weights = [ours.transformer.get_submodule(layer).weight for layer in layers]
        down = torch.randn(2, weights[0].shape[1], generator=generator) / 3
        ups = [torch.randn(w.shape[0], 2, generator=generator) / 3 for w in weights]
        is_kohya = form.startswith("lora_unet")
        name = key if is_kohya else elsewhere(key)
        fused[form.format(name, "down" if is_kohya else "A") + ".weight"] = down
        fused[form.format(name, "up" if is_kohya else "B") + ".weight"] = torch.cat(ups)
        for layer, up in zip(layers, ups, strict=True):
            apart[f"transformer.{layer}.lora_A.weight"] = down
            apart[f"transformer.{layer}.lora_B.weight"] = up
    before = draw(ours, **SIZE)
    ours.load_lora_weights(fused)
    theirs.load_lora_weights(apart)
    assert abs(draw(ours, **SIZE) - before).max() > 0.01
    assert_same(draw(ours, **SIZE), draw(theirs, **SIZE))
    ours.unload_lora_weights()
    ours.load_lora_weights(apart)
    assert_same(draw(ours, **SIZE), draw(theirs, **SIZE))


def elsewhere(key: str) -> str:
    """The name with dots, as Black Forest Labs' code has it."""
    kind, number, rest = re.fullmatch(r"(\w+_blocks)_(\d+)_(\w+)", key).groups()  # type: ignore[union-attr]
    for stem in ("img_attn", "txt_attn", "img_mlp", "img_mod"):
        rest = rest.replace(f"{stem}_", f"{stem}.")
    return f"{kind}.{number}.{rest}"


XLABS = {
    "double_blocks.1.processor.qkv_lora1": [f"transformer_blocks.1.attn.to_{x}" for x in "qkv"],
    "double_blocks.0.processor.qkv_lora2": [
        f"transformer_blocks.0.attn.add_{x}_proj" for x in "qkv"
    ],
    "double_blocks.0.processor.proj_lora1": ["transformer_blocks.0.attn.to_out.0"],
    "single_blocks.1.processor.qkv_lora": [
        f"single_transformer_blocks.1.attn.to_{x}" for x in "qkv"
    ],
    "single_blocks.0.processor.proj_lora": ["single_transformer_blocks.0.proj_out"],
}
KOHYA = {
    "lora_unet_double_blocks_1_img_mlp_2": ["transformer_blocks.1.ff.net.2"],
    "lora_te1_text_model_encoder_layers_0_mlp_fc1": [],
}


@pytest.mark.parametrize(
    ("layers", "words"), [(XLABS, ("down", "up")), (KOHYA, ("lora_down", "lora_up"))]
)
@pytest.mark.filterwarnings("ignore")
def test_low_rank_weights_in_others_names_draw_the_same(
    written: Checkpoint, layers: dict[str, list[str]], words: tuple[str, str]
) -> None:
    folder, _ = written("dev")
    ours: Any = dpnb.DiffusionPipeline.from_pretrained(folder)
    theirs = diffusers.FluxPipeline.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, Tensor] = {}
    for key, names in layers.items():
        modules = [ours.transformer.get_submodule(name) for name in names] or [
            ours.text_encoder.get_submodule("encoder.layers.0.mlp.fc1")
        ]
        rows = sum(module.weight.shape[0] for module in modules)
        tensors[f"{key}.{words[0]}.weight"] = (
            torch.randn(4, modules[0].weight.shape[1], generator=generator) / 3
        )
        tensors[f"{key}.{words[1]}.weight"] = torch.randn(rows, 4, generator=generator) / 3
    before = draw(ours, **SIZE)
    ours.load_lora_weights(dict(tensors))
    theirs.load_lora_weights(dict(tensors))
    assert abs(draw(ours, **SIZE) - before).max() > 0.01
    assert_same(draw(ours, **SIZE), draw(theirs, **SIZE))


@pytest.mark.filterwarnings("ignore")
def test_low_rank_weights_of_the_last_layers_draw_the_same(written: Checkpoint) -> None:
    folder, _ = written("dev")
    ours: Any = dpnb.DiffusionPipeline.from_pretrained(folder)
    theirs = diffusers.FluxPipeline.from_pretrained(folder)
    generator = torch.Generator().manual_seed(0)
    given: dict[str, Tensor] = {}
    named: dict[str, Tensor] = {}
    for key, name in {"linear": "proj_out", "adaLN_modulation_1": "norm_out.linear"}.items():
        rows, columns = ours.transformer.get_submodule(name).weight.shape
        down = torch.randn(2, columns, generator=generator) / 3
        up = torch.randn(rows, 2, generator=generator) / 3
        given[f"lora_unet_final_layer_{key}.lora_down.weight"] = down
        given[f"lora_unet_final_layer_{key}.lora_up.weight"] = up
        # The shift comes first in the code that these names are from, the scale in diffusers.
        halves = up.chunk(2)[::-1] if name == "norm_out.linear" else (up,)
        named[f"transformer.{name}.lora_A.weight"] = down
        named[f"transformer.{name}.lora_B.weight"] = torch.cat(halves)
    before = draw(ours, **SIZE)
    ours.load_lora_weights(given)
    theirs.load_lora_weights(named)
    assert abs(draw(ours, **SIZE) - before).max() > 0.01
    assert_same(draw(ours, **SIZE), draw(theirs, **SIZE))
