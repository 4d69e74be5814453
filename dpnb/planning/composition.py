"""The runs of many plans, put together from the stages of few."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dpnb.planning.residency import Weights
from dpnb.planning.simulate import TRACED_STEPS, Simulation
from dpnb.planning.timeline import StepTimeline
from dpnb.strategies.strategy import Plan, Strategy

DECODING = "decoding"

FULL = 2
"""The first denoising step and one like all others; what schedulers add later is known already."""


@dataclass(frozen=True)
class Course:
    """A run, as far as it was simulated.

    Attributes:
        steps: text, encoding where there is any, some denoising steps, decoding.
        weights: as the plan stores them.
    """

    steps: tuple[StepTimeline, ...]
    weights: Weights

    @property
    def before(self) -> tuple[StepTimeline, ...]:
        """All but decoding."""
        return self.steps[:-1]

    @property
    def decoding(self) -> StepTimeline:
        """The last stage."""
        return self.steps[-1]

    @property
    def left(self) -> int:
        """Bytes that are left at the end: the pictures, and what a run remembers."""
        return self.decoding.spans[-1].end


class Courses:
    """The runs of a valueless pipeline under any plan without a placement.

    What changes decoding alone is simulated without denoising; what changes nothing there is not
    simulated again for it.

    Args:
        simulation: runs the pipeline.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._decodings: dict[Plan, StepTimeline] = {}
        self._whole: dict[Plan, Course] = {}
        self._changes_decoding: dict[Strategy, bool] = {}
        self.base = self.whole(frozenset())

    def whole(self, plan: Plan) -> Course:
        """A run with all of its stages."""
        if plan not in self._whole:
            self._simulation.use(plan)
            steps = self._simulation.run(FULL if plan else TRACED_STEPS)
            if plan:
                steps[-1:-1] = self._later(steps)
            weights = Weights.of(self._simulation.pipe.strategies.networks)
            self._whole[plan] = Course(tuple(steps), weights)
        return self._whole[plan]

    def of(self, plan: Plan) -> Course:
        """The run under `plan`."""
        early = frozenset(strategy for strategy in plan if not self._is_late(strategy))
        course = self.whole(early)
        if early == plan:
            return course
        late = frozenset(s for s in plan if self._is_late(s) or self.changes_decoding(s))
        decoding = _shifted(self._decoded(late), course.left - self.base.left)
        begun = replace(decoding.spans[0], peak=course.decoding.spans[0].peak)
        decoding = replace(decoding, spans=(begun, *decoding.spans[1:]))
        return Course((*course.before, decoding), course.weights)

    def changes_decoding(self, strategy: Strategy) -> bool:
        """Whether a strategy makes a difference to decoding."""
        if strategy not in self._changes_decoding:
            course = self.whole(frozenset({strategy}))
            shift = course.left - self.base.left
            expected = _shifted(self.base.decoding, shift)
            self._changes_decoding[strategy] = _outline(course.decoding) != _outline(expected)
        return self._changes_decoding[strategy]

    def _is_late(self, strategy: Strategy) -> bool:
        """Whether it relieves decoding alone, of all stages that a run has."""
        stages = {step.stage for step in self.base.steps}
        return strategy.relieves & stages == {DECODING}

    def _later(self, steps: list[StepTimeline]) -> list[StepTimeline]:
        """The denoising steps after the simulated ones: they hold more, as far as the base does."""
        done = len(steps) - 2
        like = self.base.steps[done].peak
        return [_shifted(steps[-2], step.peak - like) for step in self.base.before[done + 1 :]]

    def _decoded(self, plan: Plan) -> StepTimeline:
        if plan not in self._decodings:
            self._simulation.use(plan)
            self._decodings[plan] = self._simulation.run(0)[-1]
        return self._decodings[plan]


def _shifted(step: StepTimeline, nbytes: int) -> StepTimeline:
    """The step beside something that is held all the time."""
    spans = (replace(span, peak=span.peak + nbytes, end=span.end + nbytes) for span in step.spans)
    return StepTimeline(step.stage, tuple(spans))


def _outline(step: StepTimeline) -> Iterable[tuple[int, int, int, float]]:
    """What tells one decoding from another; its first span begins with what denoising leaves."""
    peaks = [0, *(span.peak for span in step.spans[1:])]
    return [
        (peak, s.flops, s.nbytes, s.cost.calls) for peak, s in zip(peaks, step.spans, strict=True)
    ]
