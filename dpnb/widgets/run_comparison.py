"""What two runs have in common, and by how much they differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from typing_extensions import override

from dpnb.strategies.settings import describe_strategy
from dpnb.strategies.strategy import Effect, Plan, in_order
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.state import FinishedRun

ROUNDING = 3
"""Levels of 255 by which pictures may differ that are the same up to rounding."""


REPEATABLE = ("cuda", "live", "tensors")
"""Meters whose peaks are those of a run alone; a process keeps memory that was freed."""


@dataclass(frozen=True)
class RunDifference:
    """By how much a run differs from the baseline.

    Args:
        peak: bytes; `None` where another meter was used, or one whose readings depend on what the
            process did before.
        seconds: of the whole run.
        largest: the largest difference of a colour, of 255; `None` where the pictures cannot be
            compared.
        mean: of all colours.
        must_match: whether the pictures should be the same: the same was asked for, and all
            strategies in which the runs differ are exact.
    """

    peak: int | None
    seconds: float
    largest: int | None
    mean: float
    must_match: bool

    @property
    def is_same(self) -> bool:
        """Whether the pictures are the same, up to rounding."""
        return self.largest is not None and self.largest <= ROUNDING

    @property
    def badge(self) -> str:
        """Whether exact strategies have kept their promise; empty where none was made."""
        if not self.must_match or self.largest is None:
            return ""
        return "✓ exact" if self.is_same else "✗ not exact"

    @override
    def __str__(self) -> str:
        parts = [] if self.peak is None else [f"{_signed(self.peak, format_bytes)} peak"]
        parts.append(_signed(self.seconds, format_seconds))
        parts.append(self._picture())
        return ", ".join(part for part in parts if part)

    def _picture(self) -> str:
        if self.largest is None:
            return ""
        if self.largest == 0:
            return "picture identical"
        if self.is_same:
            return f"picture the same up to rounding (at most {self.largest} of 255)"
        return f"another picture (by {self.mean:.1f} of 255 on average)"


def compare_runs(run: FinishedRun, baseline: FinishedRun) -> RunDifference:
    """How `run` differs from `baseline`."""
    largest, mean = _pictures(run, baseline) if _same_request(run, baseline) else (None, 0.0)
    changed = run.used ^ baseline.used
    is_comparable = run.trace.meter == baseline.trace.meter in REPEATABLE
    return RunDifference(
        peak=run.trace.peak - baseline.trace.peak if is_comparable else None,
        seconds=run.trace.runs[0].duration - baseline.trace.runs[0].duration,
        largest=largest,
        mean=mean,
        must_match=all(strategy.effect is Effect.EXACT for strategy in changed),
    )


def describe_plan(plan: Plan) -> str:
    """The strategies of a plan, for people."""
    return (
        ", ".join(describe_strategy(strategy) for strategy in in_order(plan))
        or "nothing switched on"
    )


def _same_request(one: FinishedRun, other: FinishedRun) -> bool:
    return one.request is not None and one.request == other.request


def _pictures(one: FinishedRun, other: FinishedRun) -> tuple[int | None, float]:
    sizes = [[picture.size for picture in run.pictures] for run in (one, other)]
    if not one.pictures or sizes[0] != sizes[1]:
        return None, 0.0
    gaps = [
        np.abs(_levels(a) - _levels(b)) for a, b in zip(one.pictures, other.pictures, strict=True)
    ]
    return max(int(gap.max()) for gap in gaps), float(np.mean([gap.mean() for gap in gaps]))


def _levels(picture: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.asarray(picture.convert("RGB"), dtype=np.int16)


def _signed(value: float, write: object) -> str:
    sign = "−" if value < 0 else "+"
    assert callable(write)
    return f"{sign}{write(abs(value))}"
