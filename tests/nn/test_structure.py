from __future__ import annotations

from typing import Any

import torch
from torch import nn

from dpnb.nn.structure import COPIED_BELOW, Structure


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4, dtype=torch.bfloat16)
        self.blocks = nn.ModuleList([nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)])
        self.last = nn.Linear(3, 4, bias=False)
        self.last.weight = self.first.weight
        self.register_buffer("positions", torch.arange(5))
        self.register_buffer("large", torch.zeros(COPIED_BELOW // 4))
        self.register_buffer("none", None)
        self.kinds = {"first": [1]}


def described(network: nn.Module) -> dict[str, object]:
    return {
        name: (tensor.shape, tensor.dtype, tensor.stride())
        for name, tensor in network.state_dict().items()
    }


def test_a_copy_has_the_same_shapes_and_no_values() -> None:
    network = Network().eval()
    twin = Structure.of(network).copy()
    assert isinstance(twin, Network)
    assert described(twin) == described(network)
    assert all(parameter.is_meta for parameter in twin.parameters())
    assert [type(m) for m in twin.modules()] == [type(m) for m in network.modules()]
    assert not twin.training
    assert twin.last.weight is twin.first.weight
    assert twin.get_buffer("large").is_meta
    assert torch.equal(twin.get_buffer("positions"), torch.arange(5))


def test_a_copy_shares_nothing_with_the_network() -> None:
    network = Network()
    twin = Structure.of(network).copy()
    assert isinstance(twin, Network)
    twin.kinds["first"].append(2)
    twin.get_buffer("positions").zero_()
    twin.blocks.append(nn.Identity())
    twin.register_forward_hook(lambda *_: None)
    assert network.kinds == {"first": [1]}
    assert network.get_buffer("positions").tolist() == [0, 1, 2, 3, 4]
    assert len(network.blocks) == 2
    assert not network._forward_hooks


def test_parameters_have_the_names_that_they_have_in_the_network() -> None:
    inner: Any = nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2))
    network: Any = nn.Sequential(nn.Linear(2, 2), inner)
    inner[0].weight = network[0].weight
    inner.register_module("none", None)
    names = Structure.of(network).parameter_names()
    assert names == {name for name, _ in network.named_parameters()}
    assert len(names) == 5


def test_what_changes_later_does_not_count() -> None:
    network = Network()
    before = described(network)
    structure = Structure.of(network)
    network.first = nn.Linear(7, 7)
    del network.blocks[1]
    network.last.weight.data = torch.zeros(1, 1)
    network.last.register_parameter("bias", nn.Parameter(torch.zeros(4)))
    network.register_forward_hook(lambda *_: None)
    twin = structure.copy()
    assert described(twin) == before
    assert not twin._forward_hooks


def test_a_buffer_without_values_stays_so() -> None:
    network = nn.BatchNorm1d(3, device="meta")
    assert all(buffer.is_meta for buffer in Structure.of(network).copy().buffers())
