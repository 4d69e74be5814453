from __future__ import annotations

import pytest
import torch

from dpnb import SequentialOffload
from dpnb.errors import StrategyError
from dpnb.strategies.stack import StrategyStack
from tests.strategies.offload.network import (
    BLOCK,
    FORTH,
    WIDTH,
    Blocks,
    X,
    link_of,
    run_steps,
    take_copied_names,
)
from tests.strategies.pictures import QUICK


def test_two_blocks_and_the_small_tensors_are_all_that_is_held(
    network: Blocks, stack: StrategyStack
) -> None:
    with torch.no_grad():
        expected = Blocks()(X)
        assert torch.equal(network(X), expected)
    small = 6 * WIDTH * 4
    assert link_of(stack).peak == 2 * BLOCK + small
    assert link_of(stack).held == 0
    assert link_of(stack).pinned == 6 * BLOCK + small


def test_a_budget_keeps_blocks_for_a_run(network: Blocks, stack: StrategyStack) -> None:
    small = 6 * WIDTH * 4
    stack.enable(SequentialOffload(small + 5 * BLOCK, QUICK))
    with torch.no_grad():
        expected = Blocks()(X)
    assert all(torch.equal(out, expected) for out in run_steps(stack, *[lambda: network(X)] * 3))
    assert link_of(stack).peak == small + 5 * BLOCK
    log = take_copied_names(stack)
    assert [name for name in FORTH_NAMES if log.count(name) == 1] == ["1", "4"]
    assert len(log) == 6 + 4 + 4


FORTH_NAMES = [str(index) for index in FORTH]


def test_a_budget_for_everything_moves_everything_once(
    network: Blocks, stack: StrategyStack
) -> None:
    stack.enable(SequentialOffload("1GiB", QUICK))
    run_steps(stack, *[lambda: network(X)] * 3)
    assert sorted(take_copied_names(stack)) == FORTH_NAMES


def test_a_budget_that_is_too_small_is_refused_with_the_least_that_works(
    network: Blocks, stack: StrategyStack
) -> None:
    least = 2 * BLOCK + 6 * WIDTH * 4
    with pytest.raises(StrategyError, match=f"the least that works here is {least} bytes"):
        stack.enable(SequentialOffload(least - 1, QUICK))
    assert stack.find(SequentialOffload) == SequentialOffload(device=QUICK)
    stack.enable(SequentialOffload(least, QUICK))
