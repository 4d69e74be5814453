"""What plans are predicted to do to the picture, from plans whose pictures were compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from dpnb.planning.workload import Workload
from dpnb.strategies.strategy import Effect, Plan


@runtime_checkable
class ComparedPlans(Protocol):
    """Plans whose pictures were compared, such as the report of a sweep with quality."""

    @property
    def model(self) -> str:
        """Whose plans they are."""
        ...

    @property
    def workload(self) -> Workload:
        """What was drawn."""
        ...

    @property
    def dtype(self) -> str | None:
        """Of the weights, where that is known."""
        ...

    def picture_costs(self) -> tuple[tuple[Plan, float], ...]:
        """Each plan, and the size of what it does to the picture; see `difference_size`."""
        ...


@dataclass(frozen=True)
class PictureCosts:
    """What strategies do to the picture, as far as that is known.

    Exact ones do nothing to it, whatever else is on.

    Args:
        by_change: those of a plan that are not exact → the size of the difference.
        workload: what was drawn where all of it is of one sweep; `None` otherwise.
        dtype: of the weights then.
    """

    by_change: Mapping[Plan, float]
    workload: Workload | None = None
    dtype: str | None = None

    @classmethod
    def of(cls, costs: Iterable[tuple[Plan, float]]) -> PictureCosts:
        """Those of plans that were compared; of several with the same changes, the largest.

        Args:
            costs: plans, and the sizes of their differences.
        """
        found: dict[Plan, float] = {}
        for plan, size in costs:
            change = list_changes(plan)
            found[change] = max(size, found.get(change, 0.0))
        return cls(found)

    def describe_other(self, workload: Workload, dtype: str | None) -> str | None:
        """What was drawn where that is another size, or with other steps or weights; else `None`.

        Args:
            workload: what differences are predicted for.
            dtype: of its weights.
        """
        drawn = self.workload
        if drawn is None:
            return None
        sizes = [(one.height, one.width, one.steps) for one in (drawn, workload)]
        if sizes[0] == sizes[1] and self.dtype in (dtype, None):
            return None
        return drawn.describe() if self.dtype is None else f"{drawn.describe()} in {self.dtype}"

    def predict(self, plan: Plan) -> float | None:
        """The size of the difference, 0 to 1; `None` where nothing is known of it.

        What strategies do that were never measured together is the sum of what each does alone.
        """
        change = list_changes(plan)
        if not change:
            return 0.0
        if change in self.by_change:
            return self.by_change[change]
        alone = [self.by_change.get(frozenset({strategy})) for strategy in change]
        known = [size for size in alone if size is not None]
        return min(sum(known), 1.0) if len(known) == len(alone) else None


NOTHING_KNOWN = PictureCosts({})


def list_changes(plan: Plan) -> Plan:
    """The strategies of a plan that may change the picture."""
    return frozenset(strategy for strategy in plan if strategy.effect is not Effect.EXACT)


def read_picture_costs(model: str, measured: ComparedPlans | PictureCosts | None) -> PictureCosts:
    """What is known of a model's plans.

    Args:
        model: as tables call it.
        measured: a report of a sweep with quality, or what is known already.

    Raises:
        ValueError: the report is of another model, or compares no pictures.
        TypeError: it is no report.
    """
    if measured is None:
        return NOTHING_KNOWN
    if isinstance(measured, PictureCosts):
        return measured
    if not isinstance(measured, ComparedPlans):
        raise TypeError(
            f"measured is a {type(measured).__name__}; give what dpnb.sweep(…, quality=True) has "
            "returned, or dpnb.Report.load of its file."
        )
    costs = measured.picture_costs()
    if not costs:
        raise ValueError("that sweep compares no pictures; measure with dpnb.sweep(quality=True).")
    if measured.model != model:
        raise ValueError(
            f"that sweep is of {measured.model}, and not of {model}; what a plan does to the "
            "picture is known of the same model alone."
        )
    return replace(PictureCosts.of(costs), workload=measured.workload, dtype=measured.dtype)
