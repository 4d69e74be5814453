from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from dpnb.strategies.stack import StrategyStack
from tests.strategies.offload.network import (
    BACK,
    BLOCK,
    FORTH,
    Block,
    Blocks,
    X,
    link_of,
    run_steps,
    take_copied_names,
)


def requested_when_entered(stack: StrategyStack, network: Blocks) -> list[int]:
    """Filled with how many blocks have been asked for as each block computes."""
    seen: list[int] = []
    for block in network.blocks:
        assert isinstance(block, Block)
        inner = block.inner

        def look(x: Tensor, inner: Callable[[Tensor], Tensor] = inner) -> Tensor:
            seen.append(link_of(stack).moved // BLOCK)
            return inner(x)

        block.inner = look
    return seen


def test_the_next_block_comes_in_while_one_computes_once_the_order_is_known(
    network: Blocks, stack: StrategyStack
) -> None:
    seen = requested_when_entered(stack, network)
    run_steps(stack, *[lambda: network(X)] * 3)
    first, second, third = seen[:6], seen[6:12], seen[12:]
    assert first == [1, 2, 3, 4, 5, 6]
    assert second == [8, 9, 10, 11, 12, 13]
    assert third == [14, 15, 16, 17, 18, 18]
    assert take_copied_names(stack) == list("012345") * 3


def test_a_call_that_leaves_blocks_out_teaches_no_other_order(
    network: Blocks, stack: StrategyStack
) -> None:
    """The order is known still: each block of the third call comes in while one computes."""
    seen = requested_when_entered(stack, network)
    run_steps(stack, lambda: network(X), lambda: network(X, (0, 1, 5)), lambda: network(X))
    third = seen[9:]
    assert [later - earlier for earlier, later in pairwise(third[:5])] == [1] * 4
    assert third[0] - seen[8] <= 2


def test_a_step_ahead_of_the_last_brings_in_the_first_block_again(
    network: Blocks, stack: StrategyStack
) -> None:
    with stack.begin_run(), torch.no_grad():
        stack.before_step(0, 2)
        network(X)
        take_copied_names(stack)
        assert link_of(stack).moved // BLOCK == 8
        stack.before_step(1, 2)
        network(X)
        assert link_of(stack).moved // BLOCK == 12


def test_a_new_order_is_learnt(network: Blocks, stack: StrategyStack) -> None:
    orders = [FORTH, FORTH, BACK, BACK, BACK]
    outputs = run_steps(stack, *[lambda order=order: network(X, order) for order in orders])
    with torch.no_grad():
        plain = Blocks()
        assert all(torch.equal(out, plain(X, o)) for out, o in zip(outputs, orders, strict=True))
    log = take_copied_names(stack)
    assert log[-12:] == list("543210") * 2


@pytest.mark.parametrize(
    "orders",
    [
        [(0, 0, 1, 1, 2), (0, 0, 1, 1, 2), (0, 1, 2)],
        [(0, 1, 0, 1), (0, 1, 0, 1), (1, 0)],
        [(0, 1, 2, 3, 4, 5), (0, 2, 4), (1, 3, 5), (5,)],
        [(3,), (3,), (3, 4), (0, 5, 0, 5, 0)],
    ],
)
def test_any_order_computes_the_same(
    orders: list[tuple[int, ...]], network: Blocks, stack: StrategyStack
) -> None:
    outputs = run_steps(stack, *[lambda order=order: network(X, order) for order in orders * 2])
    with torch.no_grad():
        plain = Blocks()
        expected = [plain(X, order) for order in orders * 2]
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))
    assert link_of(stack).held == 0


def test_every_method_has_an_order_of_its_own(network: Blocks, stack: StrategyStack) -> None:
    calls = [lambda: network(X), lambda: network.reverse(X)] * 2
    with torch.no_grad():
        plain = Blocks()
        expected = [plain(X), plain.reverse(X)] * 2
    outputs = run_steps(stack, *calls)
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))
