"""Simulated runs under many plans, each put together from few simulated stages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dpnb.planning.simulation import SIMULATED_STEPS, Simulation
from dpnb.planning.timeline import StepTimeline
from dpnb.planning.weight_sizes import WeightSizes
from dpnb.strategies.strategy import Plan, Strategy

DECODING = "decoding"

STEPS_PER_PLAN = 2
"""The first denoising step and one like all others; what schedulers add later is known already."""


@dataclass(frozen=True)
class SimulatedRun:
    """The steps of a simulated run, and the weights that they use.

    Attributes:
        steps: text, encoding where there is any, some denoising steps, decoding.
        weights: as the plan stores them.
    """

    steps: tuple[StepTimeline, ...]
    weights: WeightSizes

    @property
    def steps_before_decoding(self) -> tuple[StepTimeline, ...]:
        """All steps but decoding."""
        return self.steps[:-1]

    @property
    def decoding_step(self) -> StepTimeline:
        """The last step."""
        return self.steps[-1]

    @property
    def bytes_left(self) -> int:
        """Bytes that are alive at the end: the pictures, and what a strategy keeps of the run."""
        return self.decoding_step.spans[-1].end


class SimulatedRuns:
    """Simulates runs of a valueless pipeline under any plan without a placement, and keeps them.

    What changes decoding alone is simulated without denoising; what changes nothing there is not
    simulated again for it.

    Args:
        simulation: runs the pipeline.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._decodings: dict[Plan, StepTimeline] = {}
        self._runs: dict[Plan, SimulatedRun] = {}
        self._changes_decoding: dict[Strategy, bool] = {}
        self.base = self.simulate_fully(frozenset())

    def simulate_fully(self, plan: Plan) -> SimulatedRun:
        """Simulate all stages of a run under `plan`."""
        if plan not in self._runs:
            self._simulation.use(plan)
            steps = self._simulation.run(STEPS_PER_PLAN if plan else SIMULATED_STEPS)
            if plan:
                steps[-1:-1] = self._extend_denoising(steps)
            weights = WeightSizes.of(self._simulation.pipe.strategies.networks)
            self._runs[plan] = SimulatedRun(tuple(steps), weights)
        return self._runs[plan]

    def simulate(self, plan: Plan) -> SimulatedRun:
        """The run under `plan`; stages that other plans have already are not simulated again."""
        early = frozenset(strategy for strategy in plan if not self._is_late(strategy))
        run = self.simulate_fully(early)
        if early == plan:
            return run
        late = frozenset(s for s in plan if self._is_late(s) or self.changes_decoding(s))
        decoding_step = _add_bytes(
            self._simulate_decoding(late), run.bytes_left - self.base.bytes_left
        )
        begun = replace(decoding_step.spans[0], peak=run.decoding_step.spans[0].peak)
        decoding_step = replace(decoding_step, spans=(begun, *decoding_step.spans[1:]))
        return SimulatedRun((*run.steps_before_decoding, decoding_step), run.weights)

    def changes_decoding(self, strategy: Strategy) -> bool:
        """Whether a strategy makes a difference to decoding."""
        if strategy not in self._changes_decoding:
            run = self.simulate_fully(frozenset({strategy}))
            shift = run.bytes_left - self.base.bytes_left
            expected = _add_bytes(self.base.decoding_step, shift)
            self._changes_decoding[strategy] = _summarize_step(
                run.decoding_step
            ) != _summarize_step(expected)
        return self._changes_decoding[strategy]

    def _is_late(self, strategy: Strategy) -> bool:
        """Whether it relieves decoding alone, of all stages that a run has."""
        stages = {step.stage for step in self.base.steps}
        return strategy.relieves & stages == {DECODING}

    def _extend_denoising(self, steps: list[StepTimeline]) -> list[StepTimeline]:
        """The denoising steps after the simulated ones: they hold more, as far as the base does."""
        done = len(steps) - 2
        like = self.base.steps[done].peak
        return [
            _add_bytes(steps[-2], step.peak - like)
            for step in self.base.steps_before_decoding[done + 1 :]
        ]

    def _simulate_decoding(self, plan: Plan) -> StepTimeline:
        if plan not in self._decodings:
            self._simulation.use(plan)
            self._decodings[plan] = self._simulation.run(0)[-1]
        return self._decodings[plan]


def _add_bytes(step: StepTimeline, nbytes: int) -> StepTimeline:
    """The step beside something that is held all the time."""
    spans = (replace(span, peak=span.peak + nbytes, end=span.end + nbytes) for span in step.spans)
    return StepTimeline(step.stage, tuple(spans))


def _summarize_step(step: StepTimeline) -> Iterable[tuple[int, int, int, float]]:
    """What tells one decoding from another; its first span begins with what denoising leaves."""
    peaks = [0, *(span.peak for span in step.spans[1:])]
    return [
        (peak, s.flops, s.nbytes, s.cost.calls) for peak, s in zip(peaks, step.spans, strict=True)
    ]
