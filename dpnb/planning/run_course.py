"""The denoising steps of a run under a plan with which they are not all alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from dpnb.planning.simulation import Simulation
from dpnb.planning.timeline import StepTimeline, add_bytes
from dpnb.stages import Stage
from dpnb.strategies.strategy import Plan

ENDS = 32
"""So many denoising steps are laid out at both ends of a run, and one of each kind between."""


class RunCourse:
    """Which steps of a run are alike.

    Args:
        plan: what is switched on in the simulation.
        simulation: of the run.
    """

    def __init__(self, plan: Plan, simulation: Simulation) -> None:
        self._plan, self._simulation = plan, simulation
        self._kinds = self._list_kinds(simulation.steps)

    @property
    def is_uneven(self) -> bool:
        """Whether steps differ, beside the first."""
        return bool(self._kinds)

    @property
    def least_steps(self) -> int:
        """So many have to be simulated for all kinds to be there; 0 where all are alike."""
        wanted = set(self._kinds)
        if self._ends_early:
            return next(n for n in range(len(self._kinds) + 1) if {*self._kinds[:n]} == wanted)
        counts = range(1, len(self._kinds))
        return next((n for n in counts if {*self._list_kinds(n)} == wanted), len(self._kinds))

    def lay_out(
        self, steps: Sequence[StepTimeline], plain: Sequence[StepTimeline]
    ) -> list[StepTimeline]:
        """The steps of the whole run: each denoising step as the last simulated one of its kind.

        Args:
            steps: that were simulated.
            plain: of a run with nothing on, whose scheduler remembers more from step to step.
        """
        places = [place for place, step in enumerate(steps) if step.stage is Stage.DENOISING]
        if not places:
            return list(steps)
        known = self._kinds if self._ends_early else self._list_kinds(len(places))
        like = dict(zip(known, range(len(places)), strict=False))
        held = [step.peak for step in plain if step.stage is Stage.DENOISING]
        made = []
        for index in self._laid_out:
            source = like.get(self._kinds[index], 0)
            more = held[min(index, len(held) - 1)] - held[min(source, len(held) - 1)]
            made.append(add_bytes(steps[places[source]], more))
        return [*steps[: places[0]], *made, *steps[places[-1] + 1 :]]

    @property
    def shares(self) -> tuple[float, ...]:
        """For how many of the run's denoising steps each of those stands that are laid out.

        There are none where all are alike.
        """
        laid_out = Counter(self._kinds[index] for index in self._laid_out)
        whole = Counter(self._kinds)
        left = {kind: (whole[kind] - count) / count for kind, count in laid_out.items()}
        return tuple(1 + left[self._kinds[index]] for index in self._laid_out)

    @property
    def _laid_out(self) -> list[int]:
        """The steps that are laid out: those at both ends, and the first one of each kind."""
        total = len(self._kinds)
        firsts = {kind: total - 1 - index for index, kind in enumerate(reversed(self._kinds))}
        ends = {*range(min(ENDS, total)), *range(max(total - ENDS, 0), total)}
        return sorted(ends | set(firsts.values()))

    @property
    def _ends_early(self) -> bool:
        return self._simulation.pipe.decodes_at_once

    def _list_kinds(self, total: int) -> tuple[Hashable, ...]:
        """What each of `total` steps is like.

        Where several strategies tell steps apart, what one does may hang on what another did before
        (a branch that is not guided has nothing to reuse of one that was), so that none of few
        steps stands for another.
        """
        networks = self._simulation.pipe.strategies.networks
        found = [strategy.step_kinds(networks, total) for strategy in self._plan]
        kinds = [one for one in found if one]
        if len(kinds) < 2:
            return kinds[0] if kinds else ()
        return tuple(range(total)) if total <= 2 * ENDS else tuple(zip(*kinds, strict=True))
