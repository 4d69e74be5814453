"""Measurements by what they cost on three axes: memory, time and the picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from dpnb.bench.measurement import Measurement
from dpnb.fidelity.visibility import LIMITS, Visibility
from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.ties import TIE
from dpnb.strategies.plans import plan_to_json

COLUMNS = (
    "plan",
    "outcome",
    "peak_bytes",
    "seconds_per_picture",
    "seconds_per_step",
    "flip",
    "flip_worst_tile",
    "ssim",
    "psnr_db",
    "picture",
    "strategies",
)


def find_picture_front(rows: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The plans that none beats on any axis without being worse on another, by the picture.

    Times that differ by less than a hundredth are equal, and so are pictures that are "the same";
    of plans that are equal on all axes, that with the fewest strategies stays.

    Args:
        rows: of a sweep; those whose pictures were not compared are left out.
    """
    compared = [one for one in rows if one.quality is not None]
    few_first = sorted(compared, key=lambda one: len(one.plan))
    costs = [_costs(one) for one in few_first]
    front = [
        one
        for place, (one, cost) in enumerate(zip(few_first, costs, strict=True))
        if not any(
            _beats(other, cost) or (other == cost and earlier < place)
            for earlier, other in enumerate(costs)
        )
    ]
    return tuple(sorted(front, key=_costs))


def measurements_to_csv(rows: Sequence[Measurement], batch: int) -> str:
    """A line for each plan, below one of the columns' names.

    Args:
        rows: of a sweep.
        batch: pictures at once, among which time is shared out.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in rows:
        found = one.quality
        picture = (
            ("",) * 5
            if found is None
            else (found.flip, found.flip_worst, found.ssim, found.psnr, found.words)
        )
        seconds = None if one.seconds is None else one.seconds / batch
        costs = (one.peak if one.is_finished else None, seconds, one.seconds_per_step)
        strategies = json.dumps(plan_to_json(one.plan))
        writer.writerow([short_plan_name(one.plan), one.outcome, *costs, *picture, strategies])
    return file.getvalue()


def _costs(one: Measurement) -> tuple[float, int, float]:
    """The picture, bytes and seconds."""
    size = 0.0 if one.quality is None else one.quality.size
    return (0.0 if size <= LIMITS[Visibility.SAME] else size, one.peak, one.seconds or 0.0)


def _beats(one: tuple[float, int, float], other: tuple[float, int, float]) -> bool:
    """Whether `one` is nowhere worse than `other`, and somewhere better."""
    picture, peak, seconds = one
    if picture > other[0] or peak > other[1] or seconds > (1 + TIE) * other[2]:
        return False
    return picture < other[0] or peak < other[1] or (1 + TIE) * seconds < other[2]
