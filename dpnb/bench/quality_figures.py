"""Draws what plans do to the picture, against what they save."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL.Image import Image

from dpnb.bench.figures import (
    BLUE,
    GREY,
    SweepFigure,
    SweepResult,
    choose_time_unit,
    choose_unit,
    seconds_of,
    style_axes,
    title_of,
)
from dpnb.bench.letters import LETTERS, draw_letters
from dpnb.bench.measurement import Measurement
from dpnb.fidelity.quality import PictureSet, Quality
from dpnb.fidelity.visibility import LIMITS, Visibility
from dpnb.pipelines.pictures.labelled_sheet import draw_sheet
from dpnb.planning.plan_names import short_plan_name
from dpnb.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BANDS = {
    Visibility.SAME: "#f2f7fb",
    Visibility.HIDDEN: "#ffffff",
    Visibility.FLIPPED: "#f6f1e7",
    Visibility.ANOTHER: "#efe3dc",
}
"""What stands behind the points, by how far pictures differ there."""

SHOWN_WORDS = {
    Visibility.SAME: "the\nsame",
    Visibility.HIDDEN: "not side\nby side",
    Visibility.FLIPPED: "when\nflipped",
    Visibility.ANOTHER: "another\npicture",
}


def draw_picture_against_costs(report: SweepResult, front: Sequence[Measurement]) -> Figure:
    """Each plan's difference from the plain picture, against its time and against its memory.

    Args:
        report: a sweep.
        front: the plans that none beats on all three axes, which have letters.
    """
    compared = [(one, one.quality) for one in report.finished if one.quality is not None]
    figure = SweepFigure(figsize=(7.2, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    clock, unit_of_time = choose_time_unit([seconds_of(one, report) for one, _ in compared])
    unit, name = choose_unit([one.peak for one, _ in compared])
    lines = [_key_line(letter, one, report) for letter, one in zip(LETTERS, front, strict=False)]
    figure.set_figheight(figure.get_figheight() + 0.17 * len(lines))
    figure.suptitle(title_of(report), fontsize=9, x=0.01, ha="left")
    figure.supxlabel("\n".join(lines), fontsize=8, x=0.02, ha="left", linespacing=1.4)
    placed = []
    for axes, heights, label in (
        (left, {o.plan: seconds_of(o, report) / clock for o, _ in compared}, unit_of_time),
        (right, {o.plan: o.peak / unit for o, _ in compared}, f"peak memory ({name})"),
    ):
        points = {one.plan: (found.size, heights[one.plan]) for one, found in compared}
        chosen = [points[one.plan] for one in front]
        others = [place for plan, place in points.items() if plan not in {o.plan for o in front}]
        reach = 1.12 * max([LIMITS[Visibility.HIDDEN], *(size for size, _ in points.values())])
        axes.set_xlim(-0.04 * reach, reach)
        axes.set_ylim(0, 1.18 * max(heights.values()))
        _draw_bands(axes, reach)
        if others:
            axes.scatter(*zip(*others, strict=True), c=GREY, s=30, zorder=3, alpha=0.8)
        axes.scatter(*zip(*chosen, strict=True), c=BLUE, marker="D", s=34, zorder=4, alpha=0.9)
        axes.set_xlabel("difference of the picture (FLIP)", fontsize=9)
        axes.set_ylabel(f"{label} per picture" if axes is left else label, fontsize=9)
        style_axes(axes)
        placed.append((axes, chosen, list(points.values())))
    for axes, chosen, marks in placed:
        draw_letters(figure, axes, chosen, marks, None, BLUE)
    return figure


def draw_plan_sheet(rows: Sequence[Measurement], pictures: PictureSet) -> Image:
    """What each plan has drawn of each prompt, from the first seed.

    Args:
        rows: measurements, of which those are shown whose pictures were compared.
        pictures: what was drawn.
    """
    compared = [(one.plan, one.quality) for one in rows if one.quality is not None]
    cells = [
        [score.picture for score in found.scores if score.seed == pictures.seeds[0]]
        for _, found in compared
    ]
    labels = [f"{short_plan_name(plan)} · {_describe(found)}" for plan, found in compared]
    return draw_sheet(cells, labels, pictures.prompts)


def _describe(found: Quality) -> str:
    return f"FLIP {found.describe()}"


def _key_line(letter: str, one: Measurement, report: SweepResult) -> str:
    assert one.quality is not None
    cost = f"{format_bytes(one.peak)}, {format_seconds(seconds_of(one, report))}"
    return f"{letter}  {short_plan_name(one.plan)}: {one.quality.describe()}, {cost}"


def _draw_bands(axes: Axes, reach: float) -> None:
    """What the differences are called, behind the points."""
    start, top = -0.04 * reach, axes.get_ylim()[1]
    for word, colour in BANDS.items():
        end = min(LIMITS.get(word, reach), reach)
        if end <= start:
            return
        axes.axvspan(start, end, color=colour, zorder=0, linewidth=0)
        if end - start > 0.08 * reach:
            axes.text(
                (start + end) / 2, 0.985 * top, SHOWN_WORDS[word], fontsize=7,
                color=GREY, ha="center", va="top", linespacing=1.1,
            )  # fmt: skip
        start = end
