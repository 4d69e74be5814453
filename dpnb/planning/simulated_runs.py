"""Simulated runs under many plans, each put together from few simulated stages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.run_course import RunCourse
from dpnb.planning.simulation import SIMULATED_STEPS, Simulation
from dpnb.planning.step_prediction import weighted_mean
from dpnb.planning.timeline import StepTimeline, add_bytes
from dpnb.planning.weight_sizes import WeightSizes
from dpnb.stages import Stage
from dpnb.strategies.strategy import Plan, Slot, Strategy

STEPS_PER_PLAN = 2
"""The first denoising step and one like all others; what schedulers add later is known already."""


@dataclass(frozen=True)
class SimulatedRun:
    """The steps of a simulated run, and the weights that they use.

    Attributes:
        steps: in order; some denoising steps stand for all of them, and the last one is decoding.
        weights: as the plan stores them.
        shares: for how many steps of the run each denoising one stands, where these differ.
    """

    steps: tuple[StepTimeline, ...]
    weights: WeightSizes
    shares: tuple[float, ...] = ()

    @property
    def is_uneven(self) -> bool:
        """Whether denoising steps differ."""
        return bool(self.shares)

    @property
    def steps_before_decoding(self) -> tuple[StepTimeline, ...]:
        """All steps but decoding."""
        return self.steps[:-1]

    @property
    def decoding_step(self) -> StepTimeline:
        """The last step."""
        return self.steps[-1]

    def seconds(self, profile: DeviceProfile, count: int) -> float:
        """What all operations of a run of `count` denoising steps take."""
        denoising = [profile.seconds(s.cost) for s in self.steps if s.stage is Stage.DENOISING]
        others = [s for s in self.steps if s.stage is not Stage.DENOISING]
        each = weighted_mean(denoising, self.shares) if denoising else 0.0
        return sum(profile.seconds(step.cost) for step in others) + count * each

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
            if self._simulation.pipe.is_attached:
                self._simulation.use(())  # a run may have left weights in another dtype
            self._simulation.use(plan)
            weights = WeightSizes.of(self._simulation.pipe.strategies.networks)
            course = RunCourse(plan, self._simulation)
            steps = self._simulation.run(max(self._count_steps(plan), course.least_steps))
            if course.is_uneven:
                steps = course.lay_out(steps, self.base.steps)
            elif plan:
                steps = self._extend_denoising(steps)
            self._runs[plan] = SimulatedRun(tuple(steps), weights, course.shares)
        return self._runs[plan]

    def simulate(self, plan: Plan) -> SimulatedRun:
        """The run under `plan`; stages that other plans have already are not simulated again."""
        early = frozenset(strategy for strategy in plan if not self._is_late(strategy))
        run = self.simulate_fully(early)
        if early == plan:
            return run
        late = frozenset(s for s in plan if self._is_late(s) or self.changes_decoding(s))
        decoding_step = add_bytes(
            self._simulate_decoding(late), run.bytes_left - self.base.bytes_left
        )
        begun = replace(decoding_step.spans[0], peak=run.decoding_step.spans[0].peak)
        decoding_step = replace(decoding_step, spans=(begun, *decoding_step.spans[1:]))
        return replace(run, steps=(*run.steps_before_decoding, decoding_step))

    def changes_decoding(self, strategy: Strategy) -> bool:
        """Whether a strategy makes a difference to decoding."""
        if strategy not in self._changes_decoding:
            run = self.simulate_fully(frozenset({strategy}))
            shift = run.bytes_left - self.base.bytes_left
            expected = add_bytes(self.base.decoding_step, shift)
            self._changes_decoding[strategy] = _summarize_step(
                run.decoding_step
            ) != _summarize_step(expected)
        return self._changes_decoding[strategy]

    def _count_steps(self, plan: Plan) -> int:
        """How many denoising steps to simulate."""
        if plan and (self._simulation.pipe.decodes_at_once or self._is_regular):
            return STEPS_PER_PLAN
        return SIMULATED_STEPS

    @cached_property
    def _is_regular(self) -> bool:
        """Whether a run has more denoising steps than are simulated, all of the same networks."""
        steps = [step for step in self.base.steps if step.stage is Stage.DENOISING]
        return len({_networks_of(step) for step in steps}) == 1 and (
            len(steps) == SIMULATED_STEPS < self._simulation.steps
        )

    def _is_late(self, strategy: Strategy) -> bool:
        """Whether it relieves decoding alone, of all stages that a run has.

        Decoding can be simulated by itself where a run decodes at once. What decodes in another's
        place has weights of its own, which are there from the beginning.
        """
        if strategy.slot is Slot.DECODER:
            return False
        stages = {step.stage for step in self.base.steps}
        relieved = strategy.relieves & stages
        return self._simulation.pipe.decodes_at_once and relieved == {Stage.DECODING}

    def _extend_denoising(self, steps: list[StepTimeline]) -> list[StepTimeline]:
        """With the denoising steps after the simulated ones: more is held, as far as in the base.

        They come after the last one that was simulated.
        """
        places = [place for place, step in enumerate(steps) if step.stage is Stage.DENOISING]
        base = [step for step in self.base.steps if step.stage is Stage.DENOISING]
        if not places or len(base) <= len(places):
            return steps
        last, like = places[-1], base[len(places) - 1].peak
        further = [add_bytes(steps[last], step.peak - like) for step in base[len(places) :]]
        return [*steps[: last + 1], *further, *steps[last + 1 :]]

    def _simulate_decoding(self, plan: Plan) -> StepTimeline:
        if plan not in self._decodings:
            self._simulation.use(plan)
            self._decodings[plan] = self._simulation.run(0)[-1]
        return self._decodings[plan]


def _networks_of(step: StepTimeline) -> frozenset[str]:
    return frozenset(span.network for span in step.spans if span.network)


def _summarize_step(step: StepTimeline) -> Iterable[tuple[int, int, int, float]]:
    """What tells one decoding from another; its first span begins with what denoising leaves."""
    peaks = [0, *(span.peak for span in step.spans[1:])]
    return [
        (peak, s.flops, s.nbytes, s.cost.calls) for peak, s in zip(peaks, step.spans, strict=True)
    ]
