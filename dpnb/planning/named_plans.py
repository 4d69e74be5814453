"""Plans that have a name, chosen from what is predicted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from dpnb.planning.plan_row import cost_of
from dpnb.planning.table import PlanError, PlanRow, PlanTable
from dpnb.planning.ties import TIE, group_ties


@dataclass(frozen=True)
class NamedPlan:
    """A way to choose one of the plans of a table.

    Args:
        name: what people call it.
        summary: what it is for.
        choose: the plan; `PlanError` where there is none.
    """

    name: str
    summary: str
    choose: Callable[[PlanTable], PlanRow]


def find_best_trade(table: PlanTable) -> PlanRow:
    """The plan at the knee: from there on less memory costs much time, and less time much memory.

    Of the plans that none beats and that fit, the one farthest from the line between the fastest
    and the smallest, on logarithmic axes; the fastest where none is nearer to the corner than both.
    Of two alone, the smaller one where it saves a larger part of memory than it takes more time.

    Args:
        table: the plans, within a budget and what the picture may lose.

    Raises:
        PlanError: none fits.
    """
    fastest = table.best()
    front = [row for row in table.front if table.fits(row)]
    peaks = [math.log(row.needed) for row in front]
    times = [math.log(row.seconds) for row in front]
    wide, high = max(peaks) - min(peaks), max(times) - min(times)
    if len(front) < 3 or not wide or not high:
        return min(reversed(front), key=lambda row: row.needed * row.seconds, default=fastest)
    sums = [
        (peak - min(peaks)) / wide + (time - min(times)) / high
        for peak, time in zip(peaks, times, strict=True)
    ]
    least = min(sums)
    return front[sums.index(least)] if least < 1 else fastest


def find_least(table: PlanTable) -> PlanRow:
    """The plan that needs the least memory, of those whose pictures are within what is allowed.

    Of those that need as little, but for a hundredth, the fastest.

    Args:
        table: the plans.

    Raises:
        PlanError: there are none.
    """
    kept = [row for row in table.rows if table.keeps_picture(row)]
    if not kept:
        raise PlanError(table.refusal)
    least = min(row.needed for row in kept)
    near = [row for row in kept if row.needed <= (1 + TIE) * least]
    return group_ties(near, cost_of)[0][0]


NAMED_PLANS: tuple[NamedPlan, ...] = (
    NamedPlan("Least memory", "Of all plans, what is predicted to need least memory.", find_least),
    NamedPlan("Fastest", "Of the plans that fit, what is predicted to be fastest.", PlanTable.best),
    NamedPlan(
        "Best trade",
        "Where the curve of memory against time bends: less of one costs much of the other.",
        find_best_trade,
    ),
)
