from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dpnb.errors import StrategyError
from dpnb.strategies.stack import StrategyStack
from tests.strategies.offload.network import (
    Blocks,
    X,
)


def test_gradients_are_refused_by_name(network: Blocks, stack: StrategyStack) -> None:
    out = network(X)
    assert torch.equal(out, Blocks()(X))
    with pytest.raises(StrategyError, match="No gradient passes through weights"):
        out.sum().backward()


def inner_gradient(network: Blocks, x: Tensor) -> Tensor:
    """That of what a block in the network computes, whose result does not leave the network."""
    seen: list[Tensor] = []
    handle = network.blocks[0].register_forward_hook(lambda _, __, out: seen.append(out))
    network(x)
    handle.remove()
    return torch.autograd.grad(seen[0].sum(), x)[0]


def test_gradients_from_the_inside_of_a_network_are_refused_too(
    network: Blocks, stack: StrategyStack
) -> None:
    x = X.clone().requires_grad_()
    assert inner_gradient(Blocks(), x).abs().sum() > 0
    with pytest.raises(StrategyError, match="No gradient passes through weights"):
        inner_gradient(network, x)


def test_gradients_beside_a_network_pass(network: Blocks, stack: StrategyStack) -> None:
    x = X.clone().requires_grad_()
    beside = (network(x).detach() * x).sum()
    assert torch.equal(torch.autograd.grad(beside, x)[0], Blocks()(X))
