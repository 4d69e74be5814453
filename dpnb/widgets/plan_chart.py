"""The chart of plans: memory against time, and the budget."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.table import PlanRow, PlanTable
from dpnb.strategies.strategy import Plan
from dpnb.units import format_bytes
from dpnb.widgets.chart_frames import WIDE, Scale, ticks, time_ticks
from dpnb.widgets.svg import BLUE, LINE, RED, line, rect, svg, text

HEIGHT = 230
LEFT, RIGHT, TOP, BOTTOM = 74, 20, 30, 44
NEAR = 9.0
"""Pixels between points that can be told apart."""

WORD = 7.2
"""Pixels that a letter takes, at the most."""

LINE_HEIGHT = 13.0

SHIFTS = (-9.0, 21.0, -23.0, 35.0, -37.0, 49.0)
"""How far below a point the words may stand that belong to it, the best first."""


def plan_chart(table: PlanTable, active: Plan, width: int = WIDE.width) -> str:
    """Every plan as a point: filled where it fits, with the front of those that none beats.

    Args:
        table: the plans, within the budget that is drawn.
        active: what is switched on; its point has a ring.
        width: in pixels.

    Returns:
        An SVG element, whose label says the numbers.
    """
    peaks = [row.needed for row in table]
    low, high = _around(min(peaks), max(peaks))
    slow = max(row.seconds_per_picture for row in table)
    x = Scale(low, high, LEFT, width - RIGHT)
    y = Scale(0, 1.12 * slow, HEIGHT - BOTTOM, TOP)
    spots = _group(table, x, y)
    parts = [
        *_axes(x, y, low, high, slow),
        *_budget(table, x),
        *_front(table.front, x, y),
        *(_spot(rows, table, active, x, y) for rows in reversed(spots)),
        *_counts(spots, x, y),
    ]
    return svg(width, HEIGHT, describe_plan_chart(table), parts)


def describe_plan_chart(table: PlanTable) -> str:
    """What the chart shows, in a sentence for those who do not see it."""
    count = len(table.fitting)
    head = f"Predicted: {count} of {len(table)} plans fit in {format_bytes(table.budget)}"
    barred = sum(row.needed <= table.budget and not table.keeps_picture(row) for row in table)
    if barred:
        head += f", beside {barred} that may change the picture too much"
    if not table.fitting:
        return f"{head}; the least needs {format_bytes(table.least.needed)}."
    best = table.best()
    return (
        f"{head}; the fastest of them is {short_plan_name(best.plan)}, with a peak of "
        f"{format_bytes(best.peak)} and {best.describe_time()} per picture."
    )


def _around(low: float, high: float) -> tuple[float, float]:
    """A stretch with room on either side; from zero unless that would press the points flat."""
    spread = max(high - low, 0.05 * high)
    return (0.0 if low < 1.5 * spread else low - 0.2 * spread), high + 0.12 * spread


def _axes(x: Scale, y: Scale, low: float, high: float, slow: float) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    yield text(LEFT, 14, "seconds per picture, predicted", "soft")
    yield text(x.end, HEIGHT - 6, "peak memory, predicted", "soft", "end")
    for seconds, label in [(0.0, "0"), *time_ticks(1.12 * slow, 4)]:
        at = y(seconds)
        yield line(LEFT, at, x.end, at, LINE)
        yield text(LEFT - 6, at + 4, label, "soft", "end")
    for value in ticks(low, high, most=6 if x.end > 600 else 3):
        yield line(x(value), bottom, x(value), bottom + 4, LINE)
        yield text(x(value), bottom + 17, format_bytes(round(value)), "soft", "middle")


def _budget(table: PlanTable, x: Scale) -> Iterator[str]:
    """What does not fit is shaded; the line has its name on the side where there is room."""
    at = min(max(x(table.budget), LEFT), x.end)
    bottom = HEIGHT - BOTTOM
    yield rect(at, TOP, x.end - at, bottom - TOP, RED, 'opacity=".07"')
    yield line(at, TOP - 6, at, bottom, RED, "6 3")
    words = f"budget {format_bytes(table.budget)}"
    is_right = at + WORD * len(words) < x.end
    yield text(at + (7 if is_right else -7), TOP + 4, words, "", "start" if is_right else "end")


def _front(front: Sequence[PlanRow], x: Scale, y: Scale) -> Iterator[str]:
    corners: list[str] = []
    for row in front:
        across, up = x(row.needed), y(row.seconds_per_picture)
        if corners:
            corners.append(f"{across},{corners[-1].partition(',')[2]}")
        corners.append(f"{across},{up}")
    yield f'<polyline points="{" ".join(corners)}" fill="none" stroke="{BLUE}" opacity=".6"/>'


def _group(table: PlanTable, x: Scale, y: Scale) -> list[list[PlanRow]]:
    """The plans by spot: those whose points would lie on each other are one, if all of them fit."""
    spots: list[list[PlanRow]] = []
    for row in table:
        near = (rows for rows in spots if table.fits(rows[0]) == table.fits(row))
        place = _place(row, x, y)
        spot = next((rows for rows in near if math.dist(place, _place(rows[0], x, y)) < NEAR), None)
        if spot is None:
            spots.append([row])
        else:
            spot.append(row)
    return spots


def _place(row: PlanRow, x: Scale, y: Scale) -> tuple[float, float]:
    return x(row.needed), y(row.seconds_per_picture)


def _spot(rows: list[PlanRow], table: PlanTable, active: Plan, x: Scale, y: Scale) -> str:
    """A point for plans that lie on one spot."""
    first = rows[0]
    (across, up), fits = _place(first, x, y), table.fits(first)
    is_best = fits and first is table.rows[0]
    fill = BLUE if fits else "var(--dpnb-card, #ffffff)"
    edge = BLUE if fits else "var(--dpnb-soft, #57606a)"
    tip = "\n".join(
        f"{short_plan_name(row.plan)}: {format_bytes(row.peak)}, {row.describe_time()} per picture"
        for row in rows
    )
    parts = [
        f'<circle cx="{across}" cy="{up}" r="{7 if is_best else 4.5}" fill="{fill}" '
        f'stroke="{edge}" stroke-width="1.5"/>'
    ]
    if any(row.plan == active for row in rows):
        parts.append(
            f'<circle cx="{across}" cy="{up}" r="11" fill="none" stroke="{BLUE}" stroke-width="2"/>'
        )
    return f"<g><title>{_escaped(tip)}</title>{''.join(parts)}</g>"


def _counts(spots: list[list[PlanRow]], x: Scale, y: Scale) -> Iterator[str]:
    """How many plans lie on a spot, where there are several: above it, or where room is left."""
    points = [_place(rows[0], x, y) for rows in spots]
    taken: list[tuple[float, float]] = []
    for (across, up), rows in sorted(zip(points, spots, strict=True), key=lambda one: one[0]):
        if len(rows) == 1:
            continue
        words = f"{len(rows)} plans"
        half = WORD * len(words) / 2
        others = [at for place, at in taken if abs(across - place) < 2 * half]
        marks = [at for place, at in points if abs(across - place) < half]
        baselines = (up + shift for shift in SHIFTS)
        at = next((one for one in baselines if _is_free(one, others, marks)), up + SHIFTS[0])
        taken.append((across, at))
        yield text(across, at, words, "halo", "middle")


def _is_free(baseline: float, words: list[float], marks: list[float]) -> bool:
    """Whether a line of words fits in the chart there, beside other words and points."""
    return (
        LINE_HEIGHT < baseline < HEIGHT - BOTTOM
        and all(abs(baseline - other) >= LINE_HEIGHT for other in words)
        and not any(-3 < baseline - mark < LINE_HEIGHT for mark in marks)
    )


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;")
