"""What is kept of a call serves the same call of a later step, and no other one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpnb.errors import UnknownValueError
from dpnb.run_listener import RunKey
from dpnb.strategies.reuse.branches import Branch, Branches, ReuseSpan
from dpnb.strategies.reuse.reuse_count import ReuseCount
from dpnb.strategies.undo import Undo

X, PROMPT, OTHER = torch.zeros(1, 4), torch.ones(1, 3), torch.full((1, 3), 2.0)


class Network(nn.Module):
    """Keeps the number of its step where nothing is kept, and says of which step it knows."""

    def __init__(self) -> None:
        super().__init__()
        self.count = ReuseCount()
        self.branches: Branches[int] = Branches(self, ReuseSpan(1, 0), self.count)
        self.known: int | None = None

    def forward(self, sample: Tensor, timestep: float, words: Tensor) -> Tensor:
        call = self.branches.present
        self.known = None if call is None else call.branch.kept
        if call is not None:
            call.is_reusing = call.branch.kept is not None
            call.branch.kept = call.index if call.branch.kept is None else call.branch.kept
        return sample


@pytest.fixture
def network() -> Any:
    network = Network()
    undo = Undo()
    network.branches.hear(network, undo)
    with torch.no_grad():
        yield network
    undo.close()
    assert not network._forward_hooks
    assert not network._forward_pre_hooks


def steps(network: Network, *calls: Any, total: int = 9, begin: int = 0) -> list[int | None]:
    """Of which step each call of a run knows; a call is what is given in it, in each of a step."""
    known = []
    for index, given in enumerate(calls, begin):
        network.branches.before_step(RunKey(), index, total)
        for sample, words in given:
            network(sample, float(index), words)
            known.append(network.known)
    return known


def test_a_step_knows_what_the_first_has_kept(network: Any) -> None:
    network.branches.begin_run(RunKey())
    assert steps(network, *[[(X, PROMPT)]] * 3) == [None, 0, 0]


def test_prompts_in_turn_are_branches(network: Any) -> None:
    network.branches.begin_run(RunKey())
    both, alone = [(X, PROMPT), (X, OTHER)], [(X, OTHER)]
    assert steps(network, both, both, alone, both) == [None, None, 0, 0, None, None, 0]


def test_other_sizes_are_another_branch(network: Any) -> None:
    network.branches.begin_run(RunKey())
    large = [(torch.zeros(2, 4), PROMPT)]
    assert steps(network, [(X, PROMPT)], large, large) == [None, None, 1]


def test_a_copy_of_a_prompt_is_the_same_prompt(network: Any) -> None:
    network.branches.begin_run(RunKey())
    assert steps(network, [(X, PROMPT)], [(X, PROMPT.clone())]) == [None, 0]


def test_a_loop_that_begins_elsewhere_knows_nothing_of_the_former(network: Any) -> None:
    network.branches.begin_run(RunKey())
    steps(network, *[[(X, PROMPT)]] * 3)
    assert steps(network, *[[(X, PROMPT)]] * 2, begin=5) == [None, 5]


@pytest.mark.parametrize("end", ["end_run", "begin_run", "after_steps", "error"])
def test_nothing_is_kept_beyond_a_run(network: Any, end: str) -> None:
    branches = network.branches
    branches.begin_run(RunKey())
    steps(network, *[[(X, PROMPT)]] * 2)
    if end == "error":
        branches.end_run(RunKey(), ZeroDivisionError())
    else:
        getattr(branches, end)(*[RunKey(), None][: 2 if end == "end_run" else 1])
    assert not branches._known
    network(X, 0.0, PROMPT)
    assert network.known is None
    assert branches.present is None


def test_calls_are_counted_by_the_step(network: Any) -> None:
    network.branches.begin_run(RunKey())
    for reused in (0.0, 0.5):
        network.count.before_step(RunKey(), 0, 9)
        index = 0 if network.branches._step is None else network.branches._step[0] + 1
        steps(network, [(X, PROMPT), (X, OTHER if not index else PROMPT)], begin=index)
        assert network.count.share == reused


def test_where_gradients_are_recorded_nothing_is_reused(network: Any) -> None:
    network.branches.begin_run(RunKey())
    with torch.enable_grad():
        assert steps(network, *[[(X, PROMPT)]] * 2) == [None, None]


def test_the_last_step_that_could_reuse_something_keeps_nothing(network: Any) -> None:
    network.branches.begin_run(RunKey())
    steps(network, *[[(X, PROMPT)]] * 2, total=2)
    assert all(branch.kept is None for branch in network.branches._known.values())


def test_a_condition_whose_values_nobody_knows_is_another() -> None:
    class Unknown(Tensor):
        @classmethod
        def __torch_function__(
            cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            if func is torch.equal:
                raise UnknownValueError
            kind: Any = super()
            return kind.__torch_function__(func, types, args, kwargs or {})

    assert not Branch([PROMPT]).is_given([PROMPT.clone().as_subclass(Unknown)])


@pytest.mark.parametrize(
    ("span", "total", "reusing"),
    [
        (ReuseSpan(0, 0), 4, [1, 2, 3]),
        (ReuseSpan(1, 1), 4, [1, 2]),
        (ReuseSpan(3, 2), 6, [3]),
        (ReuseSpan(3, 3), 6, []),
    ],
)
def test_a_span_leaves_out_the_first_and_the_last(
    span: ReuseSpan, total: int, reusing: list[int]
) -> None:
    assert [index for index in range(total) if span.has(index, total)] == reusing
    for index in range(total):
        assert span.has_later(index, total) == any(later > index for later in reusing)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_prompt_that_is_changed_in_place_is_another(network: Any, mode: Any) -> None:
    with mode():
        words = torch.ones(1, 3)
        assert steps(network, [(X, words)], [(X, words)]) == [None, 0]
        words.mul_(5)
        assert steps(network, [(X, words)], begin=2) == [None]
        kept = words.clone()
        words.mul_(5)
        assert steps(network, [(X, kept)], [(X, words)], begin=3) == [None, None]
