from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpnb.strategies.offload.block_hooks import hook_blocks
from dpnb.strategies.offload.blocks import split_into_blocks
from dpnb.strategies.offload.reached_parts import find_reached_parts, find_read_tensors
from dpnb.strategies.offload.source_paths import SourcePath
from dpnb.strategies.undo import Undo


class Block(nn.Module):
    """Has a part that others call, and a method."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.out = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.emb(x))
        return out

    def invert(self, x: Tensor) -> Tensor:
        return x - self.out.bias


class Network(nn.Module):
    """Two blocks, of the last of which it calls a part, a method, and uses a weight."""

    blocks: Any

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])
        self.scale = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.blocks[0].out.weight.dtype) * self.scale
        for block in self.blocks:
            x = block(x)
        x = self.blocks[1].invert(self.blocks[1].emb(x))
        first: Tensor = x + self.blocks[0].emb.weight.sum()
        return first

    def decode(self, x: Tensor) -> Tensor:
        return x / self.scale


def test_what_is_called_past_a_block_is_found() -> None:
    network = Network()
    first, last = network.blocks
    reached = find_reached_parts(network, ())
    assert reached.parts == {last.emb: last}
    assert reached.methods == {(last, "invert"): last}
    assert reached.tensors == {id(first.emb.weight), id(network.scale)}
    assert not reached.tensors_from_outside


def test_what_a_pipeline_reaches_is_found() -> None:
    network = Network()
    paths = [
        SourcePath(("blocks", "0", "out", "bias"), False, "__call__"),
        SourcePath(("blocks", "*", "out"), True, "__call__"),
        SourcePath(("decode",), True, "__call__"),
        SourcePath(("blocks", "0"), True, "__call__"),
        SourcePath(("blocks", "7", "out"), True, "__call__"),
    ]
    first, last = network.blocks
    reached = find_reached_parts(network, paths)
    assert reached.tensors_from_outside == {id(first.out.bias)}
    assert reached.parts == {last.emb: last, first.out: first, last.out: last}
    assert {name for _, name in reached.methods} == {"invert"}


def test_weights_are_read_while_their_layer_does_not_compute() -> None:
    network = Network()
    first, last = network.blocks
    assert find_read_tensors(network, ()) == {
        id(tensor) for tensor in (first.emb.weight, network.scale, first.out.bias, last.out.bias)
    }
    attention = nn.MultiheadAttention(4, 2)
    assert id(attention.out_proj.weight) in find_read_tensors(attention, ())
    assert id(attention.in_proj_weight) not in find_read_tensors(attention, ())


def test_a_block_is_entered_for_what_is_called_past_it() -> None:
    network = Network()
    names = {module: name for name, module in split_into_blocks(network)}
    heard: list[str] = []

    def tell(sign: str) -> Callable[[nn.Module], None]:
        return lambda block: heard.append(sign + names[block])

    before = [list(vars(module)) for module in network.modules()]
    with Undo() as undo:
        reached = find_reached_parts(network, ())
        hook_blocks(list(names), reached, tell("+"), tell("-"), undo)
        network(torch.ones(1, 2))
    a, b = "blocks.0", "blocks.1"
    assert heard == [
        "+", f"+{a}", f"-{a}", f"+{b}", f"+{b}", f"-{b}", f"-{b}",
        f"+{b}", f"-{b}", f"+{b}", f"-{b}", "-",
    ]  # fmt: skip
    assert [list(vars(module)) for module in network.modules()] == before


def test_a_block_is_left_when_its_method_fails() -> None:
    network, heard = Network(), list[nn.Module]()
    with Undo() as undo:
        hook_blocks((), find_reached_parts(network, ()), heard.append, heard.append, undo)
        with pytest.raises(TypeError):
            network.blocks[1].invert("no tensor")
    assert heard == [network.blocks[1]] * 2


def test_what_cannot_be_called_is_divided() -> None:
    network: Any = nn.Module()
    network.mid = nn.Module()
    network.mid.first, network.mid.last = Block(), Block()
    assert [name for name, _ in split_into_blocks(network)] == ["mid.first", "mid.last"]
