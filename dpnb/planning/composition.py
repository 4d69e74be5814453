"""The runs of many plans, put together from the stages of few."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from dpnb.planning.residency import Weights
from dpnb.planning.simulate import Simulation
from dpnb.planning.timeline import StepTimeline
from dpnb.strategies.strategy import Plan, Strategy

DECODING = "decoding"


@dataclass(frozen=True)
class Course:
    """A run, as far as it was simulated.

    Attributes:
        steps: text, some denoising steps, decoding.
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
    def carried(self) -> int:
        """Bytes that are left for decoding when denoising is over."""
        return self.before[-1].spans[-1].end


class Courses:
    """The runs of a hollow pipeline under any plan without a placement.

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
            steps = tuple(self._simulation.run())
            weights = Weights.of(self._simulation.pipe.strategies.host)
            self._whole[plan] = Course(steps, weights)
        return self._whole[plan]

    def of(self, plan: Plan) -> Course:
        """The run under `plan`."""
        early = frozenset(strategy for strategy in plan if not _is_late(strategy))
        course = self.whole(early)
        if early == plan:
            return course
        late = frozenset(s for s in plan if _is_late(s) or self.changes_decoding(s))
        decoding = _shifted(self._decoded(late), course.carried - self.base.carried)
        return Course((*course.before, decoding), course.weights)

    def changes_decoding(self, strategy: Strategy) -> bool:
        """Whether a strategy makes a difference to decoding."""
        if strategy not in self._changes_decoding:
            course = self.whole(frozenset({strategy}))
            shift = course.carried - self.base.carried
            expected = _shifted(self.base.decoding, shift)
            self._changes_decoding[strategy] = _outline(course.decoding) != _outline(expected)
        return self._changes_decoding[strategy]

    def _decoded(self, plan: Plan) -> StepTimeline:
        if plan not in self._decodings:
            self._simulation.use(plan)
            self._decodings[plan] = self._simulation.run(denoises=False)[-1]
        return self._decodings[plan]


def _is_late(strategy: Strategy) -> bool:
    return strategy.relieves == {DECODING}


def _shifted(step: StepTimeline, nbytes: int) -> StepTimeline:
    """The step beside something that is held all the time."""
    spans = (replace(span, peak=span.peak + nbytes, end=span.end + nbytes) for span in step.spans)
    return StepTimeline(step.stage, tuple(spans))


def _outline(step: StepTimeline) -> Iterable[tuple[int, int, int, float]]:
    return [(s.peak, s.flops, s.nbytes, s.cost.calls) for s in step.spans]
