"""What two runs have in common, and by how much they differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from typing_extensions import override

from dpnb.fidelity.visibility import Visibility
from dpnb.strategies.strategy import Effect
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.run_words import PICTURE_ALONE, describe_differences, differing_fields
from dpnb.widgets.state import FinishedRun, Request

ROUNDING = 3
"""Levels of 255 by which pictures may differ that are the same up to rounding."""


REPEATABLE = ("cuda", "live", "tensors")
"""Meters whose peaks are those of a run alone; a process keeps memory that was freed."""


NEARLY = 2.0
"""Levels of 255, on average, by which pictures may differ that are nearly the same."""


PHRASES = {
    Visibility.SAME: "picture the same to the eye",
    Visibility.HIDDEN: "difference not visible side by side",
    Visibility.FLIPPED: "difference visible when flipped",
    Visibility.ANOTHER: "another picture",
}


@dataclass(frozen=True)
class RunDifference:
    """By how much a run differs from the baseline.

    Args:
        peak: bytes; `None` where another meter was used, or one whose readings depend on what the
            process did before, or where other work was asked for.
        seconds: of the whole run; `None` where other work was asked for.
        largest: the largest difference of a colour, of 255; `None` where the pictures cannot be
            compared.
        mean: of all colours.
        must_match: whether the pictures should be the same: the same was asked for of the same
            networks and scheduler, and all strategies in which the runs differ are exact.
        note: in what else they differ, in words; empty where in nothing.
        flip: FLIP's mean; `None` where that is not known.
        words: how far the pictures differ by FLIP; `None` likewise.
    """

    peak: int | None
    seconds: float | None
    largest: int | None
    mean: float
    must_match: bool
    note: str = ""
    flip: float | None = None
    words: Visibility | None = None

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
        if self.seconds is not None:
            parts.append(_signed(self.seconds, format_seconds))
        parts.append(self._picture())
        parts.append(self.note)
        return ", ".join(part for part in parts if part)

    def _picture(self) -> str:
        if self.largest is None:
            return ""
        if self.largest == 0:
            return "picture identical"
        if self.is_same:
            return f"picture the same up to rounding (at most {self.largest} of 255)"
        if self.words is not None and self.flip is not None:
            return f"{PHRASES[self.words]} (FLIP {self.flip:.3f})"
        kind = "nearly the same" if self.mean <= NEARLY else "another"
        return f"{kind} picture (by {self.mean:.1f} of 255 on average)"


def compare_runs(run: FinishedRun, baseline: FinishedRun) -> RunDifference:
    """How `run` differs from `baseline`; time and memory only where the same work was done."""
    one, other = run.request, baseline.request
    names = [] if one is None or other is None else differing_fields(one, other)
    is_known = one is not None and other is not None
    others = list_other_conditions(run, baseline)
    is_same_work = is_known and not others and not {*names} - PICTURE_ALONE
    largest, mean = _pictures(run, baseline) if is_known and not names else (None, 0.0)
    changed = run.used ^ baseline.used
    is_comparable = is_same_work and run.trace.meter == baseline.trace.meter in REPEATABLE
    seconds = run.trace.runs[0].duration - baseline.trace.runs[0].duration
    return RunDifference(
        peak=run.trace.peak - baseline.trace.peak if is_comparable else None,
        seconds=seconds if is_same_work else None,
        largest=largest,
        mean=mean,
        must_match=not others and all(one.effect is Effect.EXACT for one in changed),
        note=_describe_note(one, other, names, others),
    )


def list_other_conditions(run: FinishedRun, baseline: FinishedRun) -> list[str]:
    """What else has decided the runs and was not the same, in words."""
    ours, theirs = run.settings, baseline.settings
    words = []
    if ours is not None and theirs is not None and ours.scheduler == theirs.scheduler:
        is_set_alike = ours.scheduler_settings == theirs.scheduler_settings
        words += [] if is_set_alike else ["other scheduler settings"]
    if run.makeup is not None and baseline.makeup is not None:
        words += run.makeup.list_differences(baseline.makeup)
    return words


def _describe_note(
    one: Request | None, other: Request | None, names: list[str], others: list[str]
) -> str:
    if one is None or other is None:
        return "not compared: a cell has asked for one of them"
    asked = [f"asked for {describe_differences(one, other, names)}"] if names else []
    return ", ".join([*asked, *others])


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
