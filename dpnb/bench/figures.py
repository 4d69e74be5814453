"""Draws the figures of a sweep, for screens and for print.

Colours are those of Okabe and Ito (2008), Color Universal Design, which colour-blind readers tell
apart; marks differ in shape as well.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from dpnb.bench.letters import LETTERS, Point, draw_letters
from dpnb.bench.measurement import Measurement
from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.workload import Workload
from dpnb.stages import Stage
from dpnb.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#6B6B6B",
)

STAGE_LOOKS: dict[str, tuple[str, str]] = {
    Stage.TEXT: (ORANGE, ""),
    Stage.ENCODING: (PURPLE, "xxxx"),
    Stage.DENOISING: (BLUE, "////"),
    Stage.DECODING: (GREEN, "...."),
}
"""Colour and hatching: they are told apart in black and white too."""

NEAR = 8.0
"""Points of print within which marks would cover each other."""

BEYOND = 1.6
"""A budget so many times as large as any peak is not shown."""

MEBIBYTE = 1 << 20

BARS = 14
"""So many plans at most have bars."""


class SweepResult(Protocol):
    """What the figures show of a sweep; a `Report` has all of it."""

    @property
    def model(self) -> str:
        """Whose plans were measured."""
        ...

    @property
    def workload(self) -> Workload:
        """What was drawn."""
        ...

    @property
    def device(self) -> str:
        """Where it ran."""
        ...

    @property
    def budget(self) -> int:
        """Bytes that the device may hold."""
        ...

    @property
    def finished(self) -> tuple[Measurement, ...]:
        """The plans that have drawn."""
        ...

    @property
    def front(self) -> tuple[Measurement, ...]:
        """Those that none beats both in memory and in time, by memory."""
        ...


class SweepFigure(Figure):
    """A figure that shows itself as a cell's value."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=110)
        return file.getvalue()


def draw_memory_against_time(report: SweepResult) -> Figure:
    """Every plan as a point; the front of those that none beats, and the budget."""
    figure, axes = _new_figure(7.2, 4.6)
    unit, name = choose_unit([one.peak for one in report.finished])
    clock, unit_of_time = choose_time_unit([seconds_of(one, report) for one in report.finished])

    def place(one: Measurement) -> Point:
        return one.peak / unit, seconds_of(one, report) / clock

    front = report.front
    points = [place(one) for one in report.finished]
    reach = max((x for x, _ in points), default=1.0)
    budget = report.budget / unit
    axes.set_xlim(0, 1.05 * (max(reach, budget) if budget < BEYOND * reach else reach))
    axes.set_ylim(0, 1.1 * max((y for _, y in points), default=1.0))
    _draw_others(figure, axes, [place(one) for one in report.finished if one not in front])
    if front:
        label = "no plan beats these in both"
        x, y = zip(*map(place, front), strict=True)
        axes.scatter(x, y, c=BLUE, marker="D", s=34, zorder=4, label=label, alpha=0.9)
        axes.step(x, y, where="post", color=BLUE, linewidth=1.2, zorder=2)
    _draw_budget(axes, report, unit)
    axes.set_xlabel(f"peak memory ({name})")
    axes.set_ylabel(f"{unit_of_time} per picture")
    axes.set_title(title_of(report), fontsize=9, loc="left")
    _draw_key(figure, axes, report)
    draw_letters(figure, axes, list(map(place, front)), points, budget, BLUE)
    return figure


def seconds_of(one: Measurement, report: SweepResult) -> float:
    """Seconds for each picture that a plan has drawn."""
    return (one.seconds or 0.0) / report.workload.batch


def _draw_others(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """A mark for each plan; where several would cover each other, one with their number."""
    width, height = (72 * side for side in figure.get_size_inches())
    (_, right), (_, top) = axes.get_xlim(), axes.get_ylim()
    groups = group_near(points, (NEAR * right / width, NEAR * top / height))
    for group in groups:
        (x, y), count = group[0], len(group)
        size = 34 if count == 1 else 90
        axes.scatter([x], [y], c=GREY, s=size, zorder=3, alpha=0.9)
        if count > 1:
            axes.annotate(
                str(count), (x, y), ha="center", va="center", fontsize=7, color="white", zorder=5
            )
    if groups:
        several = " (a number where they are one spot)" if len(groups) < len(points) else ""
        axes.scatter([], [], c=GREY, s=34, label=f"other plans{several}")


def group_near(points: Sequence[Point], reach: Point) -> list[list[Point]]:
    """Points in groups: each is near the first one of its own, and of no earlier group.

    Args:
        points: in any order.
        reach: how far along both axes two points are apart that are near.
    """
    groups: list[list[Point]] = []
    for x, y in points:
        for group in groups:
            (first, other), (wide, high) = group[0], reach
            if math.hypot((x - first) / wide, (y - other) / high) <= 1:
                group.append((x, y))
                break
        else:
            groups.append([(x, y)])
    return groups


def _draw_budget(axes: Axes, report: SweepResult, unit: int) -> None:
    """A line, where it is not far beyond all plans; its name stands clear of the key."""
    reach = max((one.peak for one in report.finished), default=1)
    if report.budget >= BEYOND * reach:
        return
    axes.axvline(report.budget / unit, color=VERMILION, linestyle="--", linewidth=1.2)
    is_right = report.budget > 0.7 * reach
    axes.annotate(
        f"budget {format_bytes(report.budget)}",
        (report.budget / unit, 0.02 if report.budget > 0.5 * reach else 0.96),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if is_right else 4, 0),
        textcoords="offset points",
        ha="right" if is_right else "left",
        color=VERMILION,
        fontsize=8,
    )


def draw_stages(report: SweepResult) -> Figure:
    """Peak memory by stage: a bar for each plan, in which every colour ends at its stage's peak.

    Stages follow each other, so that their peaks do not add up: the bar is as long as the highest.
    """
    shown = _plans_with_bars(report)
    figure, axes = _new_figure(7.2, 1.3 + 0.32 * len(shown))
    unit, name = choose_unit([one.peak for one in shown])
    for place, one in enumerate(shown):
        start = 0.0
        for stage, peak in sorted(one.peaks.items(), key=lambda item: item[1]):
            colour, hatch = STAGE_LOOKS[stage]
            axes.barh(
                place, peak / unit - start, left=start, height=0.66, color=colour, hatch=hatch,
                edgecolor="white", linewidth=0.8,
            )  # fmt: skip
            start = peak / unit
        axes.annotate(
            format_bytes(one.peak), (start, place), xytext=(4, 0), va="center", fontsize=8,
            textcoords="offset points",
        )  # fmt: skip
        if one.predicted is not None:
            at = one.predicted.peak / unit
            axes.plot([at, at], [place - 0.42, place + 0.42], color="black", linewidth=1.4)
    axes.set_yticks(range(len(shown)), [short_plan_name(one.plan) for one in shown], fontsize=8)
    axes.set_xlim(0, 1.16 * max((one.peak / unit for one in shown), default=1))
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"memory ({name})")
    figure.suptitle(title_of(report), fontsize=9, x=0.01, ha="left")
    figure.legend(
        handles=_stage_key(report), loc="outside lower left", ncols=4, fontsize=8, frameon=False
    )
    return figure


def _stage_key(report: SweepResult) -> list[Artist]:
    """The stages that the runs had, and the mark of a prediction."""
    had = {stage for one in report.finished for stage in one.peaks}
    stages = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=f"to the peak of {stage}")
        for stage, (colour, hatch) in STAGE_LOOKS.items()
        if stage in had
    ]
    mark = Line2D([], [], color="black", marker="|", linestyle="", markersize=10, label="predicted")
    return [*stages, mark]


def draw_prediction(report: SweepResult) -> Figure:
    """What was predicted against what was measured: memory and time."""
    figure = SweepFigure(figsize=(7.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    seconds = [seconds_of(one, report) for one in report.finished]
    clock, unit_of_time = choose_time_unit(seconds)
    pairs = [(one, one.predicted) for one in report.finished if one.predicted is not None]
    unit, name = choose_unit([one.peak for one in report.finished])
    _draw_scatter(
        left,
        [row.peak / unit for _, row in pairs],
        [one.peak / unit for one, _ in pairs],
        f"peak memory ({name})",
    )
    _draw_scatter(
        right,
        [row.seconds_per_picture / clock for _, row in pairs],
        [seconds_of(one, report) / clock for one, _ in pairs],
        f"{unit_of_time} per picture",
    )
    figure.suptitle(title_of(report), fontsize=9, x=0.01, ha="left")
    return figure


def _draw_scatter(
    axes: Axes, predicted: Sequence[float], measured: Sequence[float], what: str
) -> None:
    top = 1.08 * max([*predicted, *measured, 1e-9])
    axes.plot([0, top], [0, top], color=GREY, linewidth=1, zorder=1)
    axes.annotate(
        "equal",
        (0.93 * top, 0.93 * top),
        xytext=(-14, 4),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color=GREY,
    )
    axes.scatter(predicted, measured, c=BLUE, s=22, zorder=3, alpha=0.8)
    axes.set_xlim(0, top)
    axes.set_ylim(0, top)
    axes.set_aspect("equal")
    axes.set_xlabel(f"predicted {what}")
    axes.set_ylabel(f"measured {what}")
    style_axes(axes)


def _draw_key(figure: Figure, axes: Axes, report: SweepResult) -> None:
    """What the letters mean, below."""
    lines = []
    for letter, one in zip(LETTERS, report.front, strict=False):
        cost = format_seconds(seconds_of(one, report))
        lines.append(f"{letter}  {short_plan_name(one.plan)}: {format_bytes(one.peak)}, {cost}")
    figure.set_figheight(figure.get_figheight() + 0.17 * len(lines))
    axes.legend(fontsize=8, loc="lower left", edgecolor="none", framealpha=0.9)
    figure.supxlabel("\n".join(lines), fontsize=8, x=0.02, ha="left", linespacing=1.4)


def _plans_with_bars(report: SweepResult) -> list[Measurement]:
    front = list(report.front)
    rest = sorted((o for o in report.finished if o not in front), key=lambda one: len(one.plan))
    return sorted([*front, *rest][:BARS], key=lambda one: -one.peak)


def _new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = SweepFigure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    style_axes(axes)
    return figure, axes


def style_axes(axes: Axes) -> None:
    """A light grid, and no frame above and to the right."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def choose_unit(sizes: Sequence[int]) -> tuple[int, str]:
    """Bytes of a unit in which all of these are numbers of few digits, and its name."""
    is_large = max(sizes, default=0) >= 2048 * MEBIBYTE
    return (1024 * MEBIBYTE, "GiB") if is_large else (MEBIBYTE, "MiB")


def choose_time_unit(seconds: Sequence[float]) -> tuple[float, str]:
    """Seconds of a unit in which all of an axis is a number of few digits, and its name."""
    most = max(seconds, default=1.0)
    if most < 1:
        return 1e-3, "milliseconds"
    return (60.0, "minutes") if most >= 600 else (1.0, "seconds")


def title_of(report: SweepResult) -> str:
    """Whose plans were measured, with what and where."""
    return f"{report.model}, {report.workload.describe()}, on {report.device}"
