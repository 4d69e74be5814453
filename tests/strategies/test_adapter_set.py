"""Layers of peft beside adapters of files: the same calls switch both."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from torch import Tensor, nn

import dpnb
from dpnb.errors import AdapterError
from dpnb.models.peft_layers import PeftLayers
from tests.strategies.pipes import adapter, build, draw, traces, values

NAMES = {"tiny-sd": "cross_attention_kwargs", "tiny-flux": "joint_attention_kwargs"}
DENOISERS = {"tiny-sd": "unet", "tiny-flux": "transformer"}


class Case:
    """A pipeline, its denoiser, and a picture without adapters."""

    def __init__(self, name: str) -> None:
        self.pipe = build(name)
        self.pipe.unload_lora_weights()
        self.argument, self.part = NAMES[name], DENOISERS[name]
        self.network: Any = getattr(self.pipe, self.part)
        self.style = adapter(self.pipe, seed=1)
        self.plain = draw(self.pipe)

    def train(self, name: str = "trained", **settings: Any) -> None:
        """Put peft's layers in, as they might be after a training."""
        torch.manual_seed(len(name))
        config = LoraConfig(r=2, target_modules=["to_q"], init_lora_weights=False, **settings)
        self.network.add_adapter(config, name)

    def scaled(self, scale: float) -> Tensor:
        asked: dict[str, Any] = {self.argument: {"scale": scale}}
        return draw(self.pipe, **asked)


CASES = {name: Case(name) for name in NAMES}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    case = CASES[request.param]
    before, known = traces(case.pipe), values(case.pipe)
    yield case
    case.pipe.unload_lora_weights()
    assert traces(case.pipe) == before
    now = values(case.pipe)
    assert now.keys() == known.keys()
    assert all(torch.equal(now[name], value) for name, value in known.items())
    assert case.pipe.get_list_adapters() == {}


def test_a_calls_scale_is_that_of_the_layers(case: Case) -> None:
    case.train()
    whole = draw(case.pipe)
    assert torch.equal(case.scaled(0.0), case.plain)
    half = case.scaled(0.5)
    assert torch.equal(draw(case.pipe), whole)
    case.pipe.set_adapters("trained", 0.5)
    assert torch.equal(draw(case.pipe), half)
    assert not torch.equal(half, whole)
    case.pipe.set_adapters("trained", {case.part: 0.5})
    assert torch.equal(draw(case.pipe), half)


def test_they_are_named_and_switched_off_and_on(case: Case) -> None:
    case.train()
    whole = draw(case.pipe)
    assert case.pipe.get_list_adapters() == {case.part: ["trained"]}
    assert case.pipe.get_active_adapters() == case.network.active_adapters() == ["trained"]
    case.pipe.disable_lora()
    assert case.pipe.get_active_adapters() == []
    assert torch.equal(draw(case.pipe), case.plain)
    case.pipe.enable_lora()
    assert torch.equal(draw(case.pipe), whole)


def test_they_are_mixed_with_what_was_loaded(case: Case) -> None:
    case.train()
    trained = draw(case.pipe)
    case.pipe.load_lora_weights(case.style, "style")
    assert case.pipe.get_active_adapters() == ["style"]
    style = draw(case.pipe)
    assert not torch.equal(style, trained)
    case.pipe.set_adapters(["trained", "style"])
    assert set(case.pipe.get_active_adapters()) == {"trained", "style"}
    both = draw(case.pipe)
    case.pipe.set_adapters("trained")
    assert torch.equal(draw(case.pipe), trained)
    case.pipe.set_adapters("style")
    assert torch.equal(draw(case.pipe), style)
    case.pipe.set_adapters(["style", "trained"])
    assert torch.equal(draw(case.pipe), both)
    case.pipe.delete_adapters("trained")
    assert torch.equal(draw(case.pipe), style)
    assert type(layer(case.network)) is nn.Linear


def layer(network: nn.Module) -> nn.Module:
    return network.get_submodule(paths(network)[0])


def test_they_are_fused_and_back_exactly(case: Case) -> None:
    case.train()
    case.train("other")
    case.pipe.set_adapters(["trained", "other"], [0.5, 1.0])
    known, both = values(case.pipe), draw(case.pipe)
    case.pipe.fuse_lora()
    assert case.pipe.fused_loras == {"trained", "other"}
    assert (draw(case.pipe) - both).abs().max() < 1e-4
    assert torch.equal(draw(case.pipe), case.scaled(0.0))
    with pytest.raises(ValueError, match=r"'trained' is fused .* call unfuse_lora"):
        case.pipe.set_adapters("trained")
    case.pipe.unfuse_lora()
    now = values(case.pipe)
    assert all(torch.equal(now[name], value) for name, value in known.items())
    assert torch.equal(draw(case.pipe), both)
    case.pipe.fuse_lora(lora_scale=0.5, adapter_names=["trained"])
    assert case.pipe.get_active_adapters() == ["other"]
    assert not torch.equal(draw(case.pipe), both)
    case.pipe.unfuse_lora()
    assert sorted(case.pipe.get_active_adapters()) == ["other", "trained"]
    assert torch.equal(draw(case.pipe), both)


@pytest.mark.parametrize("dora", [False, True])
def test_what_is_fused_and_forgotten_is_merged_for_good(dora: bool) -> None:
    case = Case("tiny-sd")
    case.train(use_dora=dora)
    whole = draw(case.pipe)
    case.pipe.fuse_lora()
    case.pipe.unload_lora_weights()
    assert (draw(case.pipe) - whole).abs().max() < 1e-4
    assert not torch.equal(draw(case.pipe), case.plain)
    assert type(layer(case.network)) is nn.Linear


def test_fusing_that_would_not_be_finite_changes_nothing(case: Case) -> None:
    case.train()
    whole = draw(case.pipe)
    weights: Any = next(p for n, p in case.network.named_parameters() if "lora_A" in n)
    kept = weights.data
    weights.data = weights.data + float("inf")
    with pytest.raises(ValueError, match="Fusing trained would give"):
        case.pipe.fuse_lora(safe_fusing=True)
    weights.data = kept
    assert case.pipe.get_active_adapters() == ["trained"]
    assert torch.equal(draw(case.pipe), whole)


def test_what_was_trained_loads_into_the_same_pipeline(case: Case) -> None:
    case.train()
    whole = draw(case.pipe)
    tensors = get_peft_model_state_dict(case.network, adapter_name="trained").items()
    state = {f"{case.part}.{name}": tensor for name, tensor in tensors}
    settings = {f"{case.part}.{n}.alpha": torch.tensor(8.0) for n in paths(case.network)}
    case.pipe.load_lora_weights(state | settings, "beside")
    assert (draw(case.pipe) - whole).abs().max() < 1e-4
    case.pipe.unload_lora_weights()
    case.pipe.load_lora_weights(state | settings)
    assert (draw(case.pipe) - whole).abs().max() < 1e-4


def paths(network: nn.Module) -> list[str]:
    return [name for name, _ in network.named_modules() if name.endswith("to_q")]


def test_they_are_not_in_what_is_saved(
    case: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case.train()
    whole = draw(case.pipe)
    case.pipe.save_pretrained(tmp_path)
    assert "layers of peft, which are left out; write them with save_lora" in caplog.text
    assert torch.equal(draw(case.pipe), whole)
    again = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert torch.equal(draw(again), case.plain)
    case.network.save_pretrained(tmp_path / "alone")
    alone = type(case.network).from_pretrained(tmp_path / "alone")
    assert alone.state_dict().keys() == getattr(again, case.part).state_dict().keys()


def test_a_networks_own_switches_leave_the_others_as_they_are(case: Case) -> None:
    case.pipe.load_lora_weights(case.style, "style")
    case.pipe.load_lora_weights(adapter(case.pipe, seed=2), "other")
    case.pipe.set_adapters(["style", "other"], [0.5, {"text_encoder": 2.0, case.part: 0.25}])
    mixed = draw(case.pipe)
    case.network.disable_lora()
    assert case.network.active_adapters() == []
    others = draw(case.pipe)
    assert not torch.equal(others, mixed)
    assert case.pipe.get_active_adapters() == ["style", "other"]
    case.network.enable_lora()
    assert torch.equal(draw(case.pipe), mixed)
    case.network.set_adapters(["style"], [0.5])
    assert case.network.active_adapters() == ["style"]
    case.network.set_adapters(["style", "other"], [0.5, 0.25])
    assert torch.equal(draw(case.pipe), mixed)
    case.network.fuse_lora()
    assert case.pipe.fused_loras == {"style", "other"}
    assert (draw(case.pipe) - mixed).abs().max() < 1e-4
    case.network.unfuse_lora()
    assert torch.equal(draw(case.pipe), mixed)
    case.network.delete_adapters(["style", "other"])
    assert torch.equal(draw(case.pipe), others)
    with pytest.raises(AdapterError, match=r"'style' is not in the list .* are none"):
        case.network.set_adapters("style")


def test_a_copy_has_layers_of_its_own(case: Case) -> None:
    case.train()
    copied = deepcopy(case.network)
    case.pipe.unload_lora_weights()
    assert copied.active_adapters() == ["trained"]
    copied.unload_lora()
    assert type(layer(copied)) is nn.Linear


def test_a_text_encoders_layers_are_switched_and_left_out_too(case: Case, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    inject_adapter_in_model(config, case.pipe.text_encoder, "words")
    PeftLayers(case.pipe.text_encoder).activate(["words"])
    whole = draw(case.pipe)
    assert not torch.equal(whole, case.plain)
    assert torch.equal(case.scaled(0.0), case.plain)
    case.pipe.save_pretrained(tmp_path)
    again = dpnb.DiffusionPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    assert torch.equal(draw(again), case.plain)
    case.pipe.disable_lora()
    assert torch.equal(draw(case.pipe), case.plain)
