"""Layers of peft: peft says what they do, and they go without a trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoKrConfig, LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

import dpnb
from dpnb.errors import StrategyError
from dpnb.models.peft_layers import PeftLayers
from dpnb.strategies.fused import apply_changes

pytestmark = pytest.mark.filterwarnings("ignore:Already found a `peft_config`")

KINDS: dict[str, Any] = {
    "lora": LoraConfig(r=2, lora_alpha=3, target_modules=["0", "2"], init_lora_weights=False),
    "rank-stabilised": LoraConfig(
        r=2, use_rslora=True, target_modules=["0"], init_lora_weights=False
    ),
    "with a bias": LoraConfig(r=2, lora_bias=True, target_modules=["0"], init_lora_weights=False),
    "dora": LoraConfig(r=2, use_dora=True, target_modules=["0"], init_lora_weights=False),
    "lokr": LoKrConfig(r=2, target_modules=["0"], init_weights=False),
}


def make(*kinds: str) -> tuple[nn.Sequential, PeftLayers]:
    """A network, and its layers of peft of these kinds, the last of which computes."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 5))
    for kind in kinds:
        inject_adapter_in_model(KINDS[kind], network, kind)
    layers = PeftLayers(network)
    layers.activate(kinds[-1:])
    return network, layers


@torch.no_grad()
def output(network: nn.Module) -> Tensor:
    return network(torch.ones(2, 3, 3, 3))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["lora", "rank-stabilised", "with a bias", "dora"])
def test_what_an_adapter_adds_to_the_weights_is_what_it_computes(kind: str) -> None:
    network, layers = make(kind)
    expected = output(network)
    for name, change in layers.changes([kind])[kind].items():
        parameter = network.get_parameter(name)
        parameter.data = apply_changes(parameter.data, [change])
    layers.activate([])
    torch.testing.assert_close(output(network), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_asking_what_it_adds_changes_nothing(kind: str) -> None:
    network, layers = make(kind)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    changes = layers.changes([kind])
    assert set(changes) == {kind}
    now = network.state_dict()
    assert all(torch.equal(now[name], value) for name, value in before.items())


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_one_takes_the_layers_with_it(kind: str) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 5))
    own, before = list(network), set(vars(network))
    layers = PeftLayers(network)
    inject_adapter_in_model(KINDS[kind], network, "a")
    inject_adapter_in_model(KINDS[kind], network, "b")
    layers.remove(["a", "unknown"])
    assert list(layers.names) == ["b"]
    layers.remove(["b"])
    assert [x is y for x, y in zip(network, own, strict=True)] == [True] * 3
    assert set(vars(network)) == before
    layers.remove(["b"])


def test_exactly_those_compute_that_are_asked_for() -> None:
    network, layers = make("lora", "rank-stabilised")
    assert list(layers.active) == ["rank-stabilised"]
    second = output(network)
    layers.activate(["lora"])
    first = output(network)
    assert not torch.allclose(first, second)
    layers.activate(["rank-stabilised", "lora", "unknown"])
    assert list(layers.active) == ["rank-stabilised", "lora"]
    layers.switch(on=False)
    assert list(layers.active) == []
    layers.switch(on=True)
    assert list(layers.active) == ["rank-stabilised", "lora"]
    layers.remove(["lora"])
    assert list(layers.active) == ["rank-stabilised"]
    torch.testing.assert_close(output(network), second)


def test_a_scale_is_that_of_the_change_and_only_for_a_while() -> None:
    network, layers = make("rank-stabilised")
    whole = output(network)
    layers.switch(on=False)
    plain = output(network)
    layers.switch(on=True)
    with layers.scaled(0.25):
        quarter = output(network)
        with layers.scaled(0.0):
            torch.testing.assert_close(output(network), plain)
        assert torch.equal(output(network), quarter)
    assert torch.equal(output(network), whole)
    torch.testing.assert_close(quarter - plain, (whole - plain) / 4)
    layers.set_factors("rank-stabilised", lambda name: 0.25 if name == "0" else 1.0)
    assert torch.equal(output(network), quarter)
    with layers.scaled(0.5):
        layers.set_factors("rank-stabilised", lambda _: 1.0)
    assert torch.equal(output(network), whole)


@pytest.mark.filterwarnings("ignore:TorchaoLoraLinear was instantiated")
def test_quantized_weights_are_not_changed() -> None:
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained(
        "dpnb/emoji-64", quantization_config={"unet": "int8"}
    )
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q"]))
    with pytest.raises(StrategyError, match=r"those of .*to_q are int8; load without"):
        pipe.fuse_lora()
    assert pipe.get_active_adapters() == ["default"]
    assert pipe.num_fused_loras == 0


@pytest.mark.filterwarnings("ignore:`lora_bias=True` was passed")
def test_a_bias_needs_one_to_be_fused_into() -> None:
    network = nn.Sequential(nn.Linear(2, 3, bias=False))
    inject_adapter_in_model(KINDS["with a bias"], network, "a")
    with pytest.raises(StrategyError, match="'a' adds a bias to 0, which has none to fuse it into"):
        PeftLayers(network).changes(["a"])


def test_a_network_without_them_is_left_alone() -> None:
    network = nn.Linear(2, 2)
    layers = PeftLayers(network)
    with layers.scaled(0.5):
        layers.activate(["a"])
    layers.remove(["a"])
    assert (layers.names, layers.active, layers.changes(["a"])) == ((), (), {})
