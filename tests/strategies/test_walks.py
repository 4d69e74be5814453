"""Random walks over all strategies, with runs, errors and interrupts in between."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from torch import Tensor

import dpnb
from dpnb.strategies.device_map import DeviceMap
from dpnb.strategies.strategy import Plan, Strategy
from tests.strategies.pipes import SAMPLES, build, draw, traces, values

WALKS, LENGTH = 16, 100
SWITCHES_AT_LEAST = 1000

# All weights on the disk are many files; a walk writes few.
samples = st.sampled_from([sample for sample in SAMPLES if sample != DeviceMap("disk")])
plans = st.lists(samples, max_size=6, unique_by=lambda strategy: strategy.slot)

PIPE = build("tiny-sd")
FIRST = traces(PIPE), values(PIPE), draw(PIPE)
KNOWN: dict[Plan, Tensor] = {}
"""What another pipeline draws under each plan, put there straight from nothing."""

OTHER = build("tiny-sd")


def expected(plan: Plan) -> Tensor:
    """The picture that belongs to a plan."""
    if plan not in KNOWN:
        with OTHER.strategies.using(*plan):
            KNOWN[plan] = draw(OTHER)
    return KNOWN[plan]


class Walk(RuleBasedStateMachine):
    """One pipeline, or two that share their networks, switched at random."""

    switches = 0

    def __init__(self) -> None:
        super().__init__()
        self.pipe = PIPE
        self.twin: Any = None
        self.plan: set[Strategy] = set()

    @rule(strategies=st.lists(samples, min_size=3, max_size=6))
    def enable_some(self, strategies: list[Strategy]) -> None:
        """One after the other."""
        for strategy in strategies:
            self.enable(strategy)

    def enable(self, strategy: Strategy) -> None:
        """Put one in the place of another."""
        Walk.switches += 1
        self.pipe.strategies.enable(strategy)
        self.plan = {s for s in self.plan if s.slot != strategy.slot} | {strategy}

    @rule(strategy=samples)
    def enable_at_the_twin(self, strategy: Strategy) -> None:
        """Both pipelines hear of it."""
        if self.twin is None:
            self.twin = dpnb.StableDiffusionPipeline.from_pipe(self.pipe)
            self.twin.set_progress_bar_config(disable=True)
        Walk.switches += 1
        self.twin.strategies.enable(strategy)
        self.plan = {s for s in self.plan if s.slot != strategy.slot} | {strategy}

    @precondition(lambda self: self.twin is not None)
    @rule()
    def forget_the_twin(self) -> None:
        """What is on stays on."""
        self.twin = None

    @rule(data=st.data())
    def disable(self, data: st.DataObject) -> None:
        """Off with one."""
        Walk.switches += 1
        strategy = data.draw(st.sampled_from(sorted(self.plan, key=repr) or SAMPLES))
        self.pipe.strategies.disable(type(strategy))
        self.plan = {s for s in self.plan if type(s) is not type(strategy)}

    @rule(plan=plans)
    def use(self, plan: list[Strategy]) -> None:
        """Everything at once."""
        Walk.switches += 1
        self.pipe.strategies.use(plan)
        self.plan = set(plan)

    @rule()
    def run(self) -> None:
        """The same picture as that of a fresh pipeline."""
        assert torch.equal(draw(self.pipe), expected(frozenset(self.plan)))

    @rule(strategy=samples, error=st.sampled_from([ValueError, KeyboardInterrupt, None]))
    def switch_within_a_run(self, strategy: Strategy, error: type[BaseException] | None) -> None:
        """It lands between two steps; then the run ends well, with an error, or by an interrupt."""

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
        objects, weights, picture = FIRST
        assert traces(self.pipe) == objects
        now = values(self.pipe)
        assert list(now) == list(weights)
        assert all(torch.equal(now[key], weights[key]) for key in weights)
        assert torch.equal(draw(self.pipe), picture)


def test_a_thousand_switches_leave_no_trace() -> None:
    Walk.switches = 0
    run_state_machine_as_test(
        Walk,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=LENGTH,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Walk.switches >= SWITCHES_AT_LEAST
