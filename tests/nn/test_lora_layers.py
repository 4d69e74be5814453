"""Small changes of half-precision weights arrive whole, and go without a trace."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from dpnb.nn.lora_layers import add_lora, remove_lora, supports_lora
from dpnb.nn.weight_changes import LowRank

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(256, 96),
    "without bias": lambda: nn.Linear(256, 96, bias=False),
    "strided": lambda: nn.Conv2d(32, 48, 3, padding=1, stride=2),
    "pointwise": lambda: nn.Conv2d(256, 48, 1),
}
SMALL = {torch.bfloat16: 0.002, torch.float16: 0.00025}
"""How large a change is beside the weight: about its last bit."""


def example(name: str, dtype: torch.dtype) -> tuple[nn.Module, LowRank, Tensor]:
    """A layer, a small change of its weight, and an input."""
    torch.manual_seed(0)
    layer = LAYERS[name]().to(dtype)
    weight = layer.get_parameter("weight").detach()
    down, up = torch.randn(4, *weight.shape[1:]), torch.randn(weight.shape[0], 4)
    size = (up @ down.flatten(1)).norm()
    change = LowRank(down, up, (SMALL[dtype] * weight.float().norm() / size).item())
    shape = (512, weight.shape[1]) if weight.ndim == 2 else (2, weight.shape[1], 24, 24)
    return layer, change, torch.randn(shape).to(dtype)


def folded(layer: nn.Module, change: LowRank) -> nn.Module:
    """The layer with the change in its weight."""
    other = deepcopy(layer)
    weight = other.get_parameter("weight")
    wide = weight.data.to(torch.promote_types(weight.dtype, torch.float32))
    weight.data = (wide + change.delta(wide)).to(weight.dtype)
    return other


@torch.no_grad()
@pytest.mark.parametrize("dtype", SMALL, ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_more_of_a_small_change_arrives_than_by_folding(name: str, dtype: torch.dtype) -> None:
    layer, change, x = example(name, dtype)
    exact = deepcopy(layer).double()
    intended = folded(exact, change)(x.double()) - exact(x.double())
    plain = layer(x).double()

    def arriving(made: nn.Module) -> tuple[float, float]:
        difference = made(x).double() - plain
        error = (difference - intended).norm() / intended.norm()
        return ((difference * intended).sum() / intended.square().sum()).item(), error.item()

    of_folded, folded_error = arriving(folded(layer, change))
    add_lora(layer, [change])
    share, error = arriving(layer)
    assert of_folded < 0.9
    if isinstance(layer, nn.Linear):
        assert share == pytest.approx(1, abs=0.02)
        assert error < folded_error
    else:
        assert error < 0.6 * folded_error


@torch.no_grad()
@pytest.mark.parametrize("name", LAYERS)
def test_several_changes_add_up_and_go_without_a_trace(name: str) -> None:
    layer, change, x = example(name, torch.bfloat16)
    layer.float()
    before, plain = {key: id(value) for key, value in vars(layer).items()}, layer(x.float())
    weight = layer.get_parameter("weight")
    kinds = type(layer), dict(layer.state_dict())
    several = [change.scale_by(20.0), change.scale_by(-9.0), change.scale_by(0.0)]
    expected = folded(layer, change.scale_by(11.0))(x.float())
    add_lora(layer, several)
    assert torch.allclose(layer(x.float()), expected, atol=1e-4)
    assert not torch.equal(expected, plain)
    assert list(layer.state_dict()) == list(kinds[1])
    assert isinstance(layer, kinds[0])
    for _ in range(2):
        remove_lora(layer)
        assert type(layer) is kinds[0]
        assert layer.get_parameter("weight") is weight
        assert {key: id(value) for key, value in vars(layer).items()} == before
        assert not list(layer.buffers())
        assert torch.equal(layer(x.float()), plain)


def test_matrices_of_any_size_keep_their_product() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(64, 64, bias=False).half()
    down, up = torch.randn(4, 64) * 1e7, torch.randn(64, 4) * 1e-9
    add_lora(layer, [LowRank(down, up)])
    product = (layer.get_buffer("lora_up").float() @ layer.get_buffer("lora_down").float()).detach()
    assert torch.allclose(product, up @ down, rtol=0.01, atol=1e-4)


def test_other_layers_are_left_to_folding() -> None:
    assert supports_lora(nn.Conv2d(8, 8, 3))
    assert not supports_lora(nn.Conv2d(8, 8, 3, groups=2))
    assert not supports_lora(nn.Embedding(3, 4))
    assert not supports_lora(nn.LayerNorm(4))
