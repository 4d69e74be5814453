"""The same pictures as diffusers with low-rank weights, in the names that trainers give them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch import Tensor

import dpnb
from tests.reference.checkpoints import diffusers
from tests.reference.conftest import Written
from tests.reference.pictures import assert_same, draw

pytestmark = pytest.mark.filterwarnings("ignore")

UNET_LAYERS = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "ff.net.0.proj", "conv1"]
TEXT_LAYERS = ["q_proj", "k_proj", "v_proj", "out_proj", "fc1"]

State = dict[str, Tensor]


@pytest.fixture(autouse=True)
def any_peft(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let transformers use the peft that is installed: it asks for one that is not released."""
    monkeypatch.setattr("transformers.integrations.peft.check_peft_version", lambda **_: None)


def trained(network: Any, layers: list[str], seed: int, **settings: Any) -> tuple[State, Any]:
    """What peft would save of an adapter of `network` after training, and its settings."""
    torch.manual_seed(seed)
    config = LoraConfig(r=3, target_modules=layers, init_lora_weights=False, **settings)
    network.add_adapter(config)
    state = {k: v.clone() for k, v in get_peft_model_state_dict(network).items()}
    network.delete_adapters("default") if hasattr(network, "delete_adapters") else None
    return {name: tensor * 0.3 for name, tensor in state.items()}, config


def fresh(kind: type[Any], folder: Path) -> Any:
    pipe = kind.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def states(folder: Path, **settings: Any) -> dict[str, tuple[State, Any]]:
    """An adapter for every network of a checkpoint."""
    pipe = fresh(diffusers.DiffusionPipeline, folder)
    found = {"unet": trained(pipe.unet, UNET_LAYERS, 0, **settings)}
    for seed, name in enumerate(("text_encoder", "text_encoder_2"), 1):
        if getattr(pipe, name, None) is not None:
            found[name] = trained(getattr(pipe, name), TEXT_LAYERS, seed, **settings)
    return found


def as_peft(found: dict[str, tuple[State, Any]]) -> State:
    return {f"{c}.{k}": v for c, (state, _) in found.items() for k, v in state.items()}


def as_kohya(found: dict[str, tuple[State, Any]]) -> State:
    """Underscores, other words, and an alpha for every layer."""
    two = "text_encoder_2" in found
    prefixes = {"unet": "lora_unet", "text_encoder_2": "lora_te2"}
    prefixes["text_encoder"] = "lora_te1" if two else "lora_te"
    tensors: State = {}
    for component, (state, _) in found.items():
        for key, value in state.items():
            layer, _, part = key.removesuffix(".weight").rpartition(".")
            if component != "unet" and not layer.startswith("text_model."):
                layer = f"text_model.{layer}"
            name = f"{prefixes[component]}_{layer.replace('.', '_')}"
            word = {"lora_A": "lora_down", "lora_B": "lora_up"}[part]
            tensors[f"{name}.{word}.weight"] = value
            tensors[f"{name}.alpha"] = torch.tensor(6.0)
    return tensors


def as_old(found: dict[str, tuple[State, Any]]) -> State:
    """As diffusers wrote them with attention processors, the UNet's attention alone."""
    tensors: State = {}
    for key, value in found["unet"][0].items():
        layer, _, part = key.removesuffix(".weight").rpartition(".")
        block, _, child = layer.rpartition(".attn")
        if not block or ".to_" not in child:
            continue
        number, _, projection = child.partition(".")
        word = {"lora_A": "down", "lora_B": "up"}[part]
        name = f"{block}.attn{number}.processor.{projection.removesuffix('.0')}_lora.{word}.weight"
        tensors[f"unet.{name}"] = value
    return tensors


FORMATS: dict[str, Callable[[dict[str, tuple[State, Any]]], State]] = {
    "peft": as_peft,
    "kohya": as_kohya,
    "processors": as_old,
}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("form", FORMATS)
def test_every_form_draws_the_same(written: Written, family: str, form: str) -> None:
    folder, plain = written(family)
    tensors = FORMATS[form](states(folder))
    ours, theirs = fresh(dpnb.DiffusionPipeline, folder), fresh(type(plain), folder)
    before = draw(ours)
    ours.load_lora_weights(dict(tensors))
    theirs.load_lora_weights(dict(tensors))
    with_it = draw(ours)
    assert abs(with_it - before).max() > 0.01
    assert_same(with_it, draw(theirs))
    ours.unload_lora_weights()
    assert (draw(ours) == before).all()


@pytest.mark.parametrize("settings", [{"lora_alpha": 9}, {"lora_alpha": 2, "use_rslora": True}])
def test_what_diffusers_saves_draws_the_same(
    written: Written, tmp_path: Path, settings: dict[str, Any]
) -> None:
    folder, plain = written("sd1")
    found = states(folder, **settings)
    type(plain).save_lora_weights(
        tmp_path,
        unet_lora_layers=found["unet"][0],
        text_encoder_lora_layers=found["text_encoder"][0],
        unet_lora_adapter_metadata=found["unet"][1].to_dict(),
        text_encoder_lora_adapter_metadata=found["text_encoder"][1].to_dict(),
    )
    ours, theirs = fresh(dpnb.DiffusionPipeline, folder), fresh(type(plain), folder)
    ours.load_lora_weights(tmp_path)
    theirs.load_lora_weights(tmp_path)
    assert_same(draw(ours), draw(theirs))


def test_names_of_stabilitys_code_draw_the_same(written: Written) -> None:
    folder, plain = written("sdxl")
    layers = {
        "input_blocks_3_1_transformer_blocks_0_attn1_to_q": (32, 32),
        "input_blocks_3_1_transformer_blocks_0_attn2_to_k": (32, 48),
        "middle_block_1_transformer_blocks_1_attn2_to_v": (32, 48),
        "output_blocks_1_1_transformer_blocks_0_ff_net_0_proj": (256, 32),
        "output_blocks_0_1_proj_in": (32, 32),
    }
    generator = torch.Generator().manual_seed(0)
    tensors: State = {}
    for layer, (rows, columns) in layers.items():
        name = f"lora_unet_{layer}"
        tensors[f"{name}.lora_down.weight"] = torch.randn(2, columns, generator=generator) / 3
        tensors[f"{name}.lora_up.weight"] = torch.randn(rows, 2, generator=generator) / 3
        tensors[f"{name}.alpha"] = torch.tensor(1.0)
    ours, theirs = fresh(dpnb.DiffusionPipeline, folder), fresh(type(plain), folder)
    before = draw(ours)
    ours.load_lora_weights(dict(tensors))
    theirs.load_lora_weights(dict(tensors))
    assert abs(draw(ours) - before).max() > 1e-3
    assert_same(draw(ours), draw(theirs))


def test_two_adapters_with_weights_draw_the_same(written: Written) -> None:
    folder, plain = written("sd2")
    one, other = as_peft(states(folder)), as_kohya(states(folder))
    ours, theirs = fresh(dpnb.DiffusionPipeline, folder), fresh(type(plain), folder)
    for pipe in (ours, theirs):
        pipe.load_lora_weights(dict(one), adapter_name="one")
        pipe.load_lora_weights(dict(other), adapter_name="other")
        pipe.set_adapters(["one", "other"], [0.7, -0.2])
    assert_same(draw(ours), draw(theirs))
    for pipe in (ours, theirs):
        pipe.set_adapters("other", 0.5)
    assert_same(draw(ours), draw(theirs))
    for pipe in (ours, theirs):
        pipe.delete_adapters("other")
        pipe.set_adapters("one")
    assert_same(draw(ours), draw(theirs))


def test_the_last_one_is_active_as_elsewhere(written: Written) -> None:
    folder, plain = written("sd2")
    found = states(folder)
    one, other = as_peft({"unet": found["unet"]}), as_old(found)
    ours, theirs = fresh(dpnb.DiffusionPipeline, folder), fresh(type(plain), folder)
    for pipe in (ours, theirs):
        pipe.load_lora_weights(dict(one), adapter_name="one")
        pipe.load_lora_weights({k: v * 0.6 for k, v in other.items()}, adapter_name="other")
    assert ours.get_active_adapters() == theirs.get_active_adapters() == ["other"]
    assert_same(draw(ours), draw(theirs))
    for pipe in (ours, theirs):
        pipe.set_adapters("one", 0.5)
        pipe.disable_lora()
        pipe.enable_lora()
    assert_same(draw(ours), draw(theirs))


SCALES: list[dict[str, Any]] = [
    {"unet": 0.5},
    {"unet": {"down": 0.2, "mid": 2.0}},
    {"unet": {"up": {"block_1": [0.0, 0.5, 2.0]}}, "text_encoder": 0.3},
    {"unet": {"mid": [0.0], "down": {"block_0": 0.4}, "up": [0.5]}},
]


@pytest.mark.parametrize("scales", SCALES, ids=repr)
def test_scales_by_block_draw_the_same(written: Written, scales: dict[str, Any]) -> None:
    folder, plain = written("sd2")
    tensors = as_peft(states(folder))
    ours, theirs = fresh(dpnb.DiffusionPipeline, folder), fresh(type(plain), folder)
    for pipe in (ours, theirs):
        pipe.load_lora_weights(dict(tensors), adapter_name="one")
    whole = draw(ours)
    for pipe in (ours, theirs):
        pipe.set_adapters("one", scales)
    assert_same(draw(ours), draw(theirs))
    assert abs(draw(ours) - whole).max() > 1e-3


def test_fusing_and_unloading_merges_as_elsewhere(written: Written, tmp_path: Path) -> None:
    folder, plain = written("sd2")
    tensors = as_peft(states(folder))
    ours, theirs = fresh(dpnb.DiffusionPipeline, folder), fresh(type(plain), folder)
    before = draw(ours)
    for pipe in (ours, theirs):
        pipe.load_lora_weights(dict(tensors), adapter_name="one")
        pipe.set_adapters("one", 0.8)
        pipe.fuse_lora(components=["unet"], lora_scale=0.7, safe_fusing=True, adapter_names=["one"])
    assert ours.fused_loras == set(theirs.fused_loras) == {"one"}
    for pipe in (ours, theirs):
        pipe.unload_lora_weights()
    merged = draw(ours)
    assert abs(merged - before).max() > 0.01
    assert_same(merged, draw(theirs))
    ours.save_pretrained(tmp_path)
    assert_same(draw(fresh(type(plain), tmp_path)), merged)


def test_what_is_fused_is_off_once_lora_is_disabled_as_elsewhere(written: Written) -> None:
    folder, plain = written("sd2")
    tensors = as_peft({"unet": states(folder)["unet"]})
    ours, theirs = fresh(dpnb.DiffusionPipeline, folder), fresh(type(plain), folder)
    before = draw(ours)
    for pipe in (ours, theirs):
        pipe.load_lora_weights(dict(tensors), adapter_name="one")
        pipe.fuse_lora()
        pipe.disable_lora()
    assert (draw(ours) == before).all()
    assert_same(draw(theirs), before)
