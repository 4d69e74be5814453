"""Random walks over all strategies, with runs, errors and interrupts in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from torch import Tensor

from dpnb.errors import StrategyError
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.precision import Precision
from dpnb.strategies.quantization import Quantization
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.strategy import Plan, Strategy
from tests.slow import EVERY_CASE
from tests.strategies.pipes import (
    CAST_TO_16,
    build,
    draw,
    is_consistent,
    samples_for,
    traces,
    values,
)

pytestmark = pytest.mark.slow

ALL_MATRICES = frozenset({Quantization, LayerwiseCasting, Precision})
"""In a small latent-diffusion model the latter two take every matrix that the first could hold."""

TIMES = 9 if EVERY_CASE else 1
"""How many times as many switches."""

MOST_ROUNDS = 10 * TIMES
"""So many times walks begin, each time from another seed, until there were enough switches."""


class Ground:
    """Where a walk takes place: a pipeline, how it was at first, and what it should draw."""

    def __init__(self, name: str) -> None:
        # All weights on the disk are many files, and a walk writes few; and whether float16 is
        # smaller depends on all else that is on.
        left_out = DeviceMap("disk"), CAST_TO_16
        served = [sample for sample in samples_for(name) if sample not in left_out]
        self.samples = st.sampled_from(served)
        plans = st.lists(self.samples, max_size=6, unique_by=lambda strategy: strategy.slot)
        self.leaves_no_matrix = name == "tiny-ldm"
        self.plans = plans.filter(self.allows)
        self.pipe, self._other = build(name), build(name)
        self.first = traces(self.pipe), values(self.pipe), draw(self.pipe)
        self._known: dict[Plan, Tensor] = {}

    def allows(self, plan: Iterable[Strategy]) -> bool:
        """Whether strategies can be on together here."""
        kinds = {type(strategy) for strategy in plan}
        return is_consistent(plan) and not (self.leaves_no_matrix and kinds >= ALL_MATRICES)

    def expected(self, plan: Plan) -> Tensor:
        """What another pipeline draws under a plan, put there straight from nothing."""
        if plan not in self._known:
            with self._other.strategies.using(*plan):
                self._known[plan] = draw(self._other)
        return self._known[plan]


class Walk(RuleBasedStateMachine):
    """One pipeline, or two that share their networks, switched at random."""

    ground: Ground
    switches = 0

    def __init__(self) -> None:
        super().__init__()
        self.pipe = self.ground.pipe
        self.twin: Any = None
        self.plan: set[Strategy] = set()

    def pick(self, data: st.DataObject) -> Strategy:
        """Any strategy."""
        return data.draw(self.ground.samples)

    @rule(data=st.data(), count=st.integers(3, 6))
    def enable_some(self, data: st.DataObject, count: int) -> None:
        """One after the other."""
        for _ in range(count):
            self.enable(self.pick(data))

    def enable(self, strategy: Strategy) -> None:
        """Put one in the place of another."""
        self.switch(self.pipe, strategy)

    def switch(self, pipe: Any, strategy: Strategy) -> None:
        """Put one in the place of another."""
        plan = {s for s in self.plan if s.slot != strategy.slot} | {strategy}
        self.change(plan, lambda: pipe.strategies.enable(strategy))

    def change(self, plan: set[Strategy], switch: Callable[[], object]) -> None:
        """Switch; what cannot be on together is refused, and nothing changes."""
        Walk.switches += 1
        if not self.ground.allows(plan):
            with pytest.raises(StrategyError):
                switch()
            return
        switch()
        self.plan = plan

    @rule(data=st.data())
    def enable_at_the_twin(self, data: st.DataObject) -> None:
        """Both pipelines hear of it."""
        strategy = self.pick(data)
        if self.twin is None:
            self.twin = type(self.pipe).from_pipe(self.pipe)
            self.twin.set_progress_bar_config(disable=True)
        self.switch(self.twin, strategy)

    @precondition(lambda self: self.twin is not None)
    @rule()
    def forget_the_twin(self) -> None:
        """What is on stays on."""
        self.twin = None

    @rule(data=st.data())
    def disable(self, data: st.DataObject) -> None:
        """Off with one."""
        on = sorted(self.plan, key=repr)
        strategy = data.draw(st.sampled_from(on)) if on else self.pick(data)
        rest = {s for s in self.plan if type(s) is not type(strategy)}
        self.change(rest, lambda: self.pipe.strategies.disable(type(strategy)))

    @rule(data=st.data())
    def use(self, data: st.DataObject) -> None:
        """Everything at once."""
        plan = data.draw(self.ground.plans)
        self.change(set(plan), lambda: self.pipe.strategies.use(plan))

    @rule()
    def run(self) -> None:
        """The same picture as that of a fresh pipeline."""
        assert torch.equal(draw(self.pipe), self.ground.expected(frozenset(self.plan)))

    @rule(data=st.data(), error=st.sampled_from([ValueError, KeyboardInterrupt, None]))
    def switch_within_a_run(self, data: st.DataObject, error: type[BaseException] | None) -> None:
        """It lands between two steps; then the run ends well, with an error, or by an interrupt."""
        strategy = self.pick(data)

        def switch(pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> dict[str, Any]:
            if index == 0:
                self.enable(strategy)
            elif error is not None:
                raise error
            return tensors

        arguments: dict[str, Any] = {"steps": 3, "callback_on_step_end": switch}
        if error is None:
            draw(self.pipe, **arguments)
        else:
            with pytest.raises(error):
                draw(self.pipe, **arguments)

    @rule(steps=st.integers(1, 3))
    def leave_a_run(self, steps: int) -> None:
        """The stream is closed before its end."""
        stream = self.pipe.stream("a red fox", num_inference_steps=3)
        for _ in range(steps):
            next(stream)
        stream.close()

    @rule()
    def move(self) -> None:
        """To where it is."""
        self.pipe.to("cpu")

    def teardown(self) -> None:
        """Everything off is as if nothing had ever been on."""
        assert self.pipe.strategies.active == frozenset(self.plan)
        self.twin = None
        self.pipe.strategies.use([])
        objects, weights, picture = self.ground.first
        assert traces(self.pipe) == objects
        now = values(self.pipe)
        assert list(now) == list(weights)
        assert all(torch.equal(now[key], weights[key]) for key in weights)
        assert torch.equal(draw(self.pipe), picture)


@pytest.mark.parametrize(
    ("name", "walks", "length", "switches"),
    [
        ("tiny-sd", 4, 100, 230),
        ("tiny-flux", 3, 50, 40),
        ("tiny-ldm", 2, 40, 20),
        ("sag", 2, 40, 20),
    ],
)
def test_many_switches_leave_no_trace(name: str, walks: int, length: int, switches: int) -> None:
    Walk.ground, Walk.switches = Ground(name), 0
    for number in range(MOST_ROUNDS):
        run_state_machine_as_test(
            seed(number)(Walk),
            settings=settings(
                max_examples=walks,
                stateful_step_count=length,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
        if Walk.switches >= switches * TIMES:
            break
    assert Walk.switches >= switches * TIMES
