from __future__ import annotations

import json
import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from dpnb.errors import CheckpointError, QuantizationError
from dpnb.loading.components.registry import resolve
from dpnb.loading.components.transformers_components import (
    load_transformers_component,
    save_transformers_component,
)
from dpnb.loading.quantization import recipe_of
from dpnb.loading.weights.weight_files import find_weights, read_weights, write_weights
from dpnb.nn.quantized import plain_tensors, quantization_of

pytestmark = pytest.mark.exhaustive

SMALL: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "projection_dim": 8,
}
TEXT = CLIPTextConfig(**SMALL, vocab_size=99, bos_token_id=97, eos_token_id=98)
VISION = CLIPVisionConfig(**SMALL, image_size=32, patch_size=8)
BOTH = CLIPConfig(text_config=TEXT.to_dict(), vision_config=VISION.to_dict(), projection_dim=8)
SAFETY = resolve("stable_diffusion", "StableDiffusionSafetyChecker")
T5 = T5Config(d_model=16, d_kv=4, d_ff=20, num_layers=2, num_heads=2, vocab_size=50)

MODELS = [
    pytest.param(CLIPTextModel, TEXT, id="text"),
    pytest.param(CLIPTextModelWithProjection, TEXT, id="text-projection"),
    pytest.param(CLIPVisionModelWithProjection, VISION, id="vision-projection"),
    pytest.param(CLIPModel, BOTH, id="clip"),
    pytest.param(SAFETY, BOTH, id="safety-checker"),
    pytest.param(T5EncoderModel, T5, id="t5"),
]


def built(cls: Any, config: Any) -> Any:
    torch.manual_seed(0)
    return cls(deepcopy(config)).eval()


def assert_equal_models(first: torch.nn.Module, second: torch.nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=0)
    buffers = dict(second.named_buffers())
    for name, buffer in first.named_buffers():
        torch.testing.assert_close(buffer, buffers[name], rtol=0, atol=0)


@pytest.mark.parametrize("safe_serialization", [True, False])
@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize(("cls", "config"), MODELS)
def test_a_saved_model_is_loaded_by_us_and_by_transformers(
    tmp_path: Path, cls: Any, config: Any, variant: str | None, safe_serialization: bool
) -> None:
    model = built(cls, config)
    save_transformers_component(
        model, tmp_path, variant=variant, safe_serialization=safe_serialization
    )
    ours, info = load_transformers_component(cls, tmp_path, variant=variant)
    theirs = cls.from_pretrained(tmp_path, variant=variant)
    assert not info.missing + info.unexpected + info.mismatched
    assert not ours.training
    assert_equal_models(ours, model)
    assert_equal_models(theirs, model)


@pytest.mark.parametrize(("cls", "config"), MODELS)
def test_what_transformers_saves_is_loaded_alike(tmp_path: Path, cls: Any, config: Any) -> None:
    model = built(cls, config)
    model.save_pretrained(tmp_path)
    ours, info = load_transformers_component(cls, tmp_path)
    assert not info.missing + info.unexpected + info.mismatched
    assert_equal_models(ours, model)


@pytest.mark.parametrize(("cls", "config"), MODELS)
def test_weights_are_cast_and_shards_read(tmp_path: Path, cls: Any, config: Any) -> None:
    model = built(cls, config)
    save_transformers_component(model, tmp_path, max_shard_size="10KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    ours, _ = load_transformers_component(cls, tmp_path, dtype=torch.bfloat16)
    assert ours.dtype == torch.bfloat16
    assert str(ours.config.dtype).removeprefix("torch.") == "bfloat16"
    assert_equal_models(ours, model.to(torch.bfloat16))


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_text_encoders_of_every_age_load(tmp_path: Path, prefix: str) -> None:
    model = built(CLIPTextModel, TEXT)
    TEXT.save_pretrained(tmp_path)
    state = {f"{prefix}{name}": tensor for name, tensor in model.state_dict().items()}
    state[f"{prefix}embeddings.position_ids"] = torch.zeros(1, 77, dtype=torch.long)
    write_weights(state, tmp_path, "model", safe_serialization=False)
    loaded, info = load_transformers_component(CLIPTextModel, tmp_path)
    assert not info.missing + info.unexpected
    ids = torch.arange(10)[None]
    assert torch.equal(loaded(ids).last_hidden_state, model(ids).last_hidden_state)


def test_a_text_encoder_is_saved_under_the_names_that_old_versions_read(tmp_path: Path) -> None:
    save_transformers_component(built(CLIPTextModel, TEXT), tmp_path)
    state = read_weights(find_weights(tmp_path, "model"))
    assert all(name.startswith("text_model.") for name in state)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["CLIPTextModel"]


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path: Path) -> None:
    save_transformers_component(built(T5EncoderModel, T5), tmp_path)
    assert "encoder.embed_tokens.weight" not in read_weights(find_weights(tmp_path, "model"))
    loaded, _ = load_transformers_component(T5EncoderModel, tmp_path)
    assert loaded.shared.weight is loaded.encoder.embed_tokens.weight


def test_a_model_without_the_variant_falls_back_to_its_plain_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for cls, config in ((CLIPTextModel, TEXT), (T5EncoderModel, T5)):
        save_transformers_component(built(cls, config), tmp_path / cls.__name__)
        with caplog.at_level(logging.WARNING):
            load_transformers_component(cls, tmp_path / cls.__name__, variant="fp16")
        assert "has no variant 'fp16'" in caplog.text


def test_loading_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for cls, config in ((CLIPTextModel, TEXT), (T5EncoderModel, T5)):
        save_transformers_component(built(cls, config), tmp_path / cls.__name__)
        load_transformers_component(cls, tmp_path / cls.__name__)
    save_transformers_component(CLIPImageProcessor(), tmp_path / "images")
    load_transformers_component(
        resolve("transformers", "CLIPFeatureExtractor"), tmp_path / "images"
    )
    assert capfd.readouterr() == ("", "")


def test_missing_and_misshapen_weights_are_errors_that_name_one(tmp_path: Path) -> None:
    for cls, config in ((CLIPTextModel, TEXT), (T5EncoderModel, T5)):
        folder = tmp_path / cls.__name__
        save_transformers_component(built(cls, config), folder)
        state = read_weights(find_weights(folder, "model"))
        dropped = next(name for name in state if "layer_norm" in name)
        rest = {name: tensor.clone() for name, tensor in state.items() if name != dropped}
        write_weights(rest, folder, "model")
        with pytest.raises(CheckpointError, match=rf"lacks 1 weights of {cls.__name__}, such as"):
            load_transformers_component(cls, folder)
        write_weights({**rest, dropped: torch.zeros(3)}, folder, "model")
        with pytest.raises(CheckpointError, match="has other shapes for 1 weights"):
            load_transformers_component(cls, folder)


def test_strangers_among_the_weights_are_told_and_do_no_harm(tmp_path: Path) -> None:
    model = built(CLIPTextModel, TEXT)
    TEXT.save_pretrained(tmp_path)
    write_weights({**model.state_dict(), "stranger": torch.zeros(1)}, tmp_path, "model")
    loaded, info = load_transformers_component(CLIPTextModel, tmp_path)
    assert info.unexpected == ("stranger",)
    assert_equal_models(loaded, model)


def test_a_folder_that_holds_nothing_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a folder; download or save"):
        load_transformers_component(CLIPTextModel, tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"cannot load a CLIPImageProcessor.* from "):
        load_transformers_component(CLIPImageProcessor, tmp_path)
    save_transformers_component(built(CLIPTextModel, TEXT), tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        load_transformers_component(CLIPTextModel, tmp_path)
    (tmp_path / "config.json").write_text('{"hidden_size": "wide"}')
    with pytest.raises(CheckpointError, match="cannot load a CLIPTextModel from"):
        load_transformers_component(CLIPTextModel, tmp_path)


def tokenizer(folder: Path) -> Any:
    letters = [*"abcdefgh", *(f"{letter}</w>" for letter in "abcdefgh"), "ab", "ab</w>"]
    vocabulary = [*letters, "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b\na b</w>\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=77)


def test_a_tokenizer_is_saved_for_every_version_of_transformers(tmp_path: Path) -> None:
    original = tokenizer(tmp_path / "original")
    save_transformers_component(original, tmp_path / "saved")
    loaded, info = load_transformers_component(CLIPTokenizer, tmp_path / "saved")
    assert not info.missing
    assert loaded("abc ab h")["input_ids"] == original("abc ab h")["input_ids"]
    assert loaded.model_max_length == 77
    for name in ("vocab.json", "merges.txt"):
        assert (tmp_path / "saved" / name).exists()
    (tmp_path / "saved" / "tokenizer.json").unlink()
    old, _ = load_transformers_component(CLIPTokenizer, tmp_path / "saved")
    assert old("abc ab h")["input_ids"] == original("abc ab h")["input_ids"]


def test_an_image_processor_survives_saving(tmp_path: Path) -> None:
    processor = CLIPImageProcessor(crop_size={"height": 32, "width": 32})
    save_transformers_component(processor, tmp_path)
    loaded, _ = load_transformers_component(
        resolve("transformers", "CLIPFeatureExtractor"), tmp_path
    )
    assert loaded.to_dict() == processor.to_dict()


@pytest.mark.parametrize("kind", ["int8", "nf4"])
@pytest.mark.parametrize(("cls", "config"), MODELS)
def test_a_model_is_quantized_saved_and_loaded_again(
    tmp_path: Path, cls: Any, config: Any, kind: str
) -> None:
    save_transformers_component(built(cls, config), tmp_path)
    if kind == "int8" and config is BOTH:  # of which transformers does not know the embeddings
        with pytest.raises(QuantizationError, match=r"cannot quantize a .* by torchao; leave it"):
            load_transformers_component(cls, tmp_path, recipe=recipe_of(kind))
        return
    model, info = load_transformers_component(
        cls, tmp_path, recipe=recipe_of(kind), dtype=torch.bfloat16
    )
    assert not info.missing + info.unexpected + info.mismatched
    assert quantization_of(model) == kind
    save_transformers_component(model, tmp_path / "saved")
    again, _ = load_transformers_component(cls, tmp_path / "saved")
    for name, parameter in again.named_parameters():
        parts = plain_tensors(parameter), plain_tensors(model.get_parameter(name))
        assert all(map(torch.equal, *parts))
