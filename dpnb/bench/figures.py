"""A sweep as figures, for screens and for print.

Colours are those of Okabe and Ito (2008), Color Universal Design, which colour-blind readers tell
apart; marks differ in shape as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dpnb.bench.measurement import Measurement
from dpnb.planning.names import label
from dpnb.units import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from dpnb.bench.report import Report

BLUE, ORANGE, GREEN, VERMILION, PURPLE, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#6B6B6B",
)

STAGE_COLOURS = {"text": ORANGE, "encoding": PURPLE, "denoising": BLUE, "decoding": GREEN}

MEBIBYTE = 1 << 20

LETTERS = "abcdefghijklmnopqrstuvwxyz"

BARS = 14
"""So many plans at most have bars."""


def memory_against_time(report: Report) -> Figure:
    """Every plan as a point; the front of those that none beats, and the budget."""
    figure, axes = _sheet(7.2, 4.6)
    unit, name = _unit([one.peak for one in report.finished])
    front = report.front
    others = [one for one in report.finished if one not in front]
    for points, colour, mark, what in (
        (others, GREY, "o", "other plans"),
        (front, BLUE, "D", "no plan beats these in both"),
    ):
        x = [one.peak / unit for one in points]
        y = [(one.seconds or 0.0) / report.workload.batch for one in points]
        axes.scatter(x, y, c=colour, marker=mark, s=34, zorder=3, label=what, alpha=0.9)
    _draw_front(axes, front, unit, report.workload.batch)
    reach = max((one.peak for one in report.finished), default=1)
    if report.budget < 1.6 * reach:
        axes.axvline(report.budget / unit, color=VERMILION, linestyle="--", linewidth=1.2)
        is_right = report.budget > 0.7 * reach
        axes.annotate(
            f"budget {format_bytes(report.budget)}",
            (report.budget / unit, 0.02),
            xycoords=("data", "axes fraction"),
            xytext=(-4 if is_right else 4, 0),
            textcoords="offset points",
            ha="right" if is_right else "left",
            color=VERMILION,
            fontsize=8,
        )
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel(f"peak memory ({name})")
    axes.set_ylabel("seconds per picture")
    axes.set_title(_title(report), fontsize=9, loc="left")
    _key(figure, axes, front)
    return figure


def stages(report: Report) -> Figure:
    """Peak memory of each stage, plan by plan: the front first, then the others by their peaks."""
    shown = _for_bars(report)
    figure, axes = _sheet(7.2, 1.4 + 0.36 * len(shown))
    unit, name = _unit([one.peak for one in shown])
    places = range(len(shown))
    present = [stage for stage in STAGE_COLOURS if any(stage in one.peaks for one in shown)]
    height = 0.78 / max(len(present), 1)
    for number, stage in enumerate(present):
        offset = (number - (len(present) - 1) / 2) * height
        axes.barh(
            [place + offset for place in places],
            [one.peaks.get(stage, 0) / unit for one in shown],
            height=0.92 * height,
            color=STAGE_COLOURS[stage],
            label=stage,
        )
    axes.set_yticks(list(places), [label(one.plan) for one in shown], fontsize=8)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"peak memory ({name})")
    axes.set_title(_title(report), fontsize=9, loc="left")
    axes.legend(fontsize=8, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def prediction(report: Report) -> Figure:
    """What was predicted against what was measured: memory and time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    pairs = [(one, one.predicted) for one in report.finished if one.predicted is not None]
    unit, name = _unit([one.peak for one in report.finished])
    _against(
        left,
        [row.peak / unit for _, row in pairs],
        [one.peak / unit for one, _ in pairs],
        f"peak memory ({name})",
    )
    _against(
        right,
        [row.seconds_per_picture for _, row in pairs],
        [(one.seconds or 0.0) / report.workload.batch for one, _ in pairs],
        "seconds per picture",
    )
    figure.suptitle(_title(report), fontsize=9, x=0.01, ha="left")
    return figure


def _against(axes: Axes, predicted: Sequence[float], measured: Sequence[float], what: str) -> None:
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
    _plain(axes)


def _draw_front(axes: Axes, front: Sequence[Measurement], unit: int, batch: int) -> None:
    """A staircase: what memory buys."""
    x = [one.peak / unit for one in front]
    y = [(one.seconds or 0.0) / batch for one in front]
    axes.step(x, y, where="post", color=BLUE, linewidth=1.2, zorder=2)
    for number, (across, up) in enumerate(zip(x, y, strict=True)):
        is_crowded = any(
            abs(other - across) < 0.04 * max(x) and abs(height - up) < 0.08 * max(y)
            for other, height in zip(x[number + 1 :], y[number + 1 :], strict=True)
        )
        axes.annotate(
            LETTERS[number % len(LETTERS)],
            (across, up),
            xytext=(-10, -3) if is_crowded else (0, -13),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            fontweight="bold",
            color=BLUE,
        )


def _key(figure: Figure, axes: Axes, front: Sequence[Measurement]) -> None:
    """What the letters mean, below."""
    lines = [f"{LETTERS[n % len(LETTERS)]}  {label(one.plan)}" for n, one in enumerate(front)]
    figure.set_figheight(figure.get_figheight() + 0.17 * len(lines))
    axes.legend(fontsize=8, loc="best", edgecolor="none", framealpha=0.9)
    figure.supxlabel("\n".join(lines), fontsize=8, x=0.02, ha="left", linespacing=1.4)


def _for_bars(report: Report) -> list[Measurement]:
    front = list(report.front)
    rest = sorted((o for o in report.finished if o not in front), key=lambda one: len(one.plan))
    return sorted([*front, *rest][:BARS], key=lambda one: -one.peak)


def _sheet(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#DDDDDD", linewidth=0.6, zorder=0)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)


def _unit(sizes: Sequence[int]) -> tuple[int, str]:
    is_large = max(sizes, default=0) >= 2048 * MEBIBYTE
    return (1024 * MEBIBYTE, "GiB") if is_large else (MEBIBYTE, "MiB")


def _title(report: Report) -> str:
    return f"{report.model}, {report.workload.describe()}, on {report.device}"
