"""Measurements by what they cost on three axes: memory, time and the picture."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from typing import Any

from dpnb.bench.measurement import Measurement
from dpnb.fidelity.quality import Quality
from dpnb.fidelity.visibility import LIMITS, Visibility
from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.table import PlanTable
from dpnb.planning.ties import TIE
from dpnb.stages import Stage
from dpnb.strategies.plans import plan_to_json

COLUMNS = (
    "plan",
    "outcome",
    "peak_bytes",
    *(f"peak_{stage}_bytes" for stage in Stage),
    "seconds_per_picture",
    "seconds_per_step",
    "spread_seconds",
    "predicted_peak_bytes",
    "predicted_seconds_per_picture",
    "largest_difference",
    "mean_difference",
    "flip",
    "flip_worst_tile",
    "flip_size",
    "ssim",
    "ssim_worst_tile",
    "psnr_db",
    "psnr_worst_tile_db",
    "picture",
    "model",
    "dtype",
    "device",
    "batch",
    "steps",
    "width",
    "height",
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


def measurements_to_csv(rows: Sequence[Measurement], table: PlanTable) -> str:
    """A line for each plan, below one of the columns' names; what is not known is empty.

    Args:
        rows: of a sweep.
        table: says what was drawn, of which model and where.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    drawn = table.workload
    place = {
        "model": table.model,
        "dtype": table.dtype,
        "device": table.device.name,
        **{name: getattr(drawn, name) for name in ("batch", "steps", "width", "height")},
    }
    for one in rows:
        strategies = json.dumps(plan_to_json(one.plan))
        named = {"plan": short_plan_name(one.plan), "outcome": one.outcome}
        costs = _write_costs(one, drawn.batch) if one.is_finished else {}
        writer.writerow({**named, **costs, **place, "strategies": strategies})
    return file.getvalue()


def _write_costs(one: Measurement, batch: int) -> dict[str, Any]:
    predicted, found = one.predicted, one.quality
    cells: dict[str, Any] = {
        "peak_bytes": one.peak,
        **{f"peak_{name}_bytes": peak for name, peak in one.peaks.items()},
        "seconds_per_picture": None if one.seconds is None else one.seconds / batch,
        "seconds_per_step": one.seconds_per_step,
        "spread_seconds": one.spread,
        "largest_difference": one.difference,
        "mean_difference": one.mean_difference,
    }
    if predicted is not None:
        cells["predicted_peak_bytes"] = predicted.peak
        cells["predicted_seconds_per_picture"] = predicted.seconds_per_picture
    return cells | ({} if found is None else _write_quality(found))


def _write_quality(found: Quality) -> dict[str, Any]:
    """What a plan does to the picture; of pictures that do not differ PSNR is infinite."""
    psnr, worst = (math.inf if value is None else value for value in (found.psnr, found.psnr_worst))
    return {
        "flip": found.flip,
        "flip_worst_tile": found.flip_worst,
        "flip_size": found.size,
        "ssim": found.ssim,
        "ssim_worst_tile": found.ssim_worst,
        "psnr_db": psnr,
        "psnr_worst_tile_db": worst,
        "picture": str(found.words),
    }


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
