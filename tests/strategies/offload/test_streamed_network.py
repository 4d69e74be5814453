from __future__ import annotations

import pytest
import torch
from torch import nn

from dpnb import ModelOffload, SequentialOffload
from dpnb.strategies.stack import StrategyStack, stack_of
from tests.strategies.offload.network import (
    WIDTH,
    Block,
    Blocks,
    X,
    run_steps,
    take_copied_names,
)
from tests.strategies.pictures import QUICK


def scale(linear: nn.Linear) -> None:
    linear.weight.data.mul_(0.5)


def shift(linear: nn.Linear) -> None:
    linear.bias.add_(0.25)


def replace_values(linear: nn.Linear) -> None:
    linear.weight.data = torch.ones(WIDTH, WIDTH) / WIDTH
    linear.bias.data = torch.ones(WIDTH)


def replace_parameter(linear: nn.Linear) -> None:
    linear.weight = nn.Parameter(torch.eye(WIDTH))


def load(linear: nn.Linear) -> None:
    linear.load_state_dict(nn.Linear(WIDTH, WIDTH).state_dict())


def load_by_assigning(linear: nn.Linear) -> None:
    state = {name: value + 1 for name, value in linear.state_dict().items()}
    linear.load_state_dict(state, assign=True)


CHANGES = (scale, shift, replace_values, replace_parameter, load, load_by_assigning)


@pytest.mark.parametrize("kind", [SequentialOffload, ModelOffload])
def test_changes_by_hand_count(
    kind: type[SequentialOffload] | type[ModelOffload], network: Blocks, stack: StrategyStack
) -> None:
    stack.enable(kind(device=QUICK))
    block, small = network.blocks[2], network.blocks[3]
    assert isinstance(block, Block)
    assert isinstance(small, Block)
    run_steps(stack, *[lambda: network(X)] * 2)
    with torch.no_grad():
        network(X)
    plain = Blocks()
    for change in CHANGES:
        torch.manual_seed(1)
        with torch.no_grad():
            change(block.linear)
        linear = plain.blocks[2].get_submodule("linear")
        assert isinstance(linear, nn.Linear)
        torch.manual_seed(1)
        with torch.no_grad():
            change(linear)
            expected = plain(X)
            assert torch.equal(network(X), expected)
        assert all(
            torch.equal(out, expected) for out in run_steps(stack, *[lambda: network(X)] * 2)
        )
        assert torch.equal(block.linear.weight, linear.weight)
    stack.use([])
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), plain.parameters()))  # noqa: B905
    with torch.no_grad():
        assert torch.equal(network(X), plain(X))


def test_tied_weights_stay_on_the_device_and_stay_tied(network: Blocks) -> None:
    network.blocks[4].get_submodule("linear").weight = network.blocks[1].get_parameter(
        "linear.weight"
    )
    with torch.no_grad():
        expected = network(X)
    stack = stack_of(network, "unet")
    stack.enable(SequentialOffload(device=QUICK))
    assert all(torch.equal(out, expected) for out in run_steps(stack, *[lambda: network(X)] * 3))
    assert take_copied_names(stack).count("4") == 0
    stack.use([])
    one, other = (network.blocks[i].get_parameter("linear.weight") for i in (1, 4))
    assert one is other


def test_weights_of_several_dtypes_travel_together() -> None:
    network, plain = Blocks(), Blocks()
    for one in (network, plain):
        for index in (1, 4):
            one.blocks[index].to(torch.bfloat16)
            one.blocks[index].register_forward_pre_hook(lambda _, args: (args[0].bfloat16(),))
            one.blocks[index].register_forward_hook(lambda _, __, out: out.float())
    stack = stack_of(network, "unet")
    stack.enable(SequentialOffload(device=QUICK))
    with torch.no_grad():
        expected = plain(X)
    assert all(torch.equal(out, expected) for out in run_steps(stack, *[lambda: network(X)] * 3))
    stack.use([])
    assert {p.dtype for p in network.parameters()} == {torch.float32, torch.bfloat16}
