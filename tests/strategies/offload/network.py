"""A small network of six blocks, and what offloading it copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from dpnb.strategies.offload.simulated_link import SimulatedLink
from dpnb.strategies.stack import StrategyStack

WIDTH = 128


BLOCK = WIDTH * WIDTH * 4
"""Bytes of a block's matrix: just large enough to stream."""


FORTH = tuple(range(6))


BACK = FORTH[::-1]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)
        self.inner: Callable[[Tensor], Tensor] = torch.tanh

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.linear(x))


class Blocks(nn.Module):
    """Six blocks, called in any order."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList(Block() for _ in range(6))

    def forward(self, x: Tensor, order: Sequence[int] = FORTH) -> Tensor:
        for index in order:
            x = self.blocks[index](x)
        return x

    def reverse(self, x: Tensor) -> Tensor:
        for index in BACK:
            x = self.blocks[index](x)
        return x


X = torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(0))


def link_of(stack: StrategyStack) -> SimulatedLink:
    link = stack.networks.link
    assert isinstance(link, SimulatedLink)
    return link


def take_copied_names(stack: StrategyStack) -> list[str]:
    """The names of the blocks that have come in since this was asked last."""
    link = link_of(stack)
    log = [transfer.what for transfer in link.log if transfer.nbytes >= BLOCK]
    link.log.clear()
    return [what.rpartition(".")[2] for what in log]


def run_steps(stack: StrategyStack, *calls: Callable[[], Tensor]) -> list[Tensor]:
    """A run of one step for each call."""
    with stack.begin_run(), torch.no_grad():
        outputs = []
        for index, call in enumerate(calls):
            stack.before_step(index, len(calls))
            outputs.append(call())
        return outputs
