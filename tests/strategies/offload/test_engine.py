from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dpnb import ModelOffload, SequentialOffload
from dpnb.strategies.stack import StrategyStack, stack_of
from tests.strategies.offload.network import (
    BLOCK,
    WIDTH,
    Block,
    Blocks,
    X,
    link_of,
    run_steps,
    take_copied_names,
)
from tests.strategies.pictures import QUICK


def calling(other: nn.Module) -> Callable[[Tensor], Tensor]:
    """A call of `other`, which is not a child of whoever makes it."""

    def call(x: Tensor) -> Tensor:
        out: Tensor = other(x)
        return out.sin()

    return call


def test_a_block_may_call_another_while_it_computes(network: Blocks, stack: StrategyStack) -> None:
    plain = Blocks()
    for one in (network, plain):
        for index in (0, 1, 3):
            block, other = one.blocks[index], one.blocks[index + 1]
            assert isinstance(block, Block)
            block.inner = calling(other)
    with torch.no_grad():
        expected = plain(X)
    assert all(torch.equal(out, expected) for out in run_steps(stack, *[lambda: network(X)] * 3))
    assert link_of(stack).held == 0


def test_a_part_of_the_network_may_be_called_by_itself(
    network: Blocks, stack: StrategyStack
) -> None:
    with torch.no_grad():
        expected = Blocks().blocks[3](X)
        assert torch.equal(network.blocks[3](X), expected)
        assert link_of(stack).held == 0
        assert network.blocks[3](X).equal(run_steps(stack, lambda: network.blocks[3](X))[0])
    assert take_copied_names(stack) == ["3", "3", "3"]


class BrokenError(Exception):
    pass


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
@pytest.mark.parametrize("place", ["before", "inside", "after"])
@pytest.mark.parametrize("in_a_run", [True, False])
def test_an_error_in_the_middle_leaves_nothing_on_the_device(
    error: type[BaseException], place: str, in_a_run: bool, network: Blocks, stack: StrategyStack
) -> None:
    block = network.blocks[2]
    assert isinstance(block, Block)

    def fail(*_: object) -> Tensor:
        raise error

    handles = []
    if place == "before":
        handles.append(block.register_forward_pre_hook(fail))
    elif place == "after":
        handles.append(block.register_forward_hook(fail))
    else:
        block.inner = fail
    calls = [lambda: network(X)] * 2
    with torch.no_grad(), pytest.raises(error):
        run_steps(stack, *calls) if in_a_run else calls[0]()
    assert link_of(stack).held == 0
    for handle in handles:
        handle.remove()
    block.inner = torch.tanh
    with torch.no_grad():
        expected = Blocks()(X)
    assert all(torch.equal(out, expected) for out in run_steps(stack, *[lambda: network(X)] * 2))


def test_a_run_that_goes_on_after_an_error_computes_the_same(
    network: Blocks, stack: StrategyStack
) -> None:
    block = network.blocks[4]
    assert isinstance(block, Block)
    with torch.no_grad():
        expected = Blocks()(X)

    def broken_off() -> Tensor:
        def fail(x: Tensor) -> Tensor:
            raise BrokenError

        block.inner = fail
        with pytest.raises(BrokenError):
            network(X)
        block.inner = torch.tanh
        return network(X)  # type: ignore[no-any-return]

    outputs = run_steps(stack, lambda: network(X), broken_off, lambda: network(X))
    assert all(torch.equal(out, expected) for out in outputs)


@pytest.mark.parametrize("kind", [SequentialOffload, ModelOffload])
def test_inference_mode_computes_the_same(
    kind: type[SequentialOffload] | type[ModelOffload], network: Blocks, stack: StrategyStack
) -> None:
    with torch.inference_mode():
        stack.enable(kind(device=QUICK))
        expected = Blocks()(X)
        assert torch.equal(network(X), expected)
        assert all(
            torch.equal(out, expected) for out in run_steps(stack, *[lambda: network(X)] * 3)
        )
        network.blocks[0].get_parameter("linear.weight").data.mul_(1.0)
    with torch.no_grad():
        assert torch.equal(network(X), expected)
    with torch.inference_mode():
        stack.use([])
    with torch.no_grad():
        assert torch.equal(network(X), expected)
    assert not any(parameter.is_inference() for parameter in network.parameters())


@pytest.mark.gpu
def test_a_cuda_device_computes_the_same_in_less_memory() -> None:
    network, plain = Blocks(), Blocks().cuda()
    stack = stack_of(network, "unet")
    stack.enable(SequentialOffload(device="cuda"))
    x = X.cuda()
    with torch.no_grad():
        expected = plain(x)
    assert all(torch.equal(out, expected) for out in run_steps(stack, *[lambda: network(x)] * 5))
    link = stack.networks.link
    assert link is not None
    assert link.peak == 2 * BLOCK + 6 * WIDTH * 4
    assert link.pinned == 6 * BLOCK + 6 * WIDTH * 4
    stack.use([])
    assert {p.device.type for p in network.parameters()} == {"cpu"}
