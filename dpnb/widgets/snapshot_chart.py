"""Memory and time of a run in a still picture, in colours that everybody can tell apart."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from dpnb.metering.trace import RunTrace, Trace
from dpnb.stages import Stage
from dpnb.units import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    Stage.TEXT: "#009e73",
    Stage.ENCODING: "#cc79a7",
    Stage.DENOISING: "#56b4e9",
    Stage.DECODING: "#e69f00",
}
WEIGHTS = "#57606a"
BLUE, RED, SOFT, LINE = "#0072b2", "#d55e00", "#57606a", "#d0d7de"
UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("bytes", 1))
SMALL = 8.5


def draw_memory(trace: Trace, axes: Axes) -> None:
    """The curve of memory and the peak of each step, over bands of the stages.

    Args:
        trace: its last run is drawn, with what was switched meanwhile.
        axes: where.
    """
    run = trace.runs[-1]
    levels = [run.peak, run.begin.current, *(sample.current for sample in trace.samples)]
    unit, size = next(pair for pair in UNITS if max(levels) >= pair[1] or pair[1] == 1)
    _draw_bands(run, axes)
    steps = run.steps
    begins, ends = _times(run)
    peaks = [step.peak / size for step in steps]
    axes.hlines(peaks, begins, ends, color=RED, linewidth=1.6, label="peak of each step")
    points = [(run.begin.time, run.begin.current)]
    points += [(one.time, one.current) for one in trace.samples if one.time >= run.start]
    points += [(step.start + step.duration, step.current) for step in steps]
    curve = sorted((time - run.start, level / size) for time, level in points)
    axes.plot(*zip(*curve, strict=True), color=BLUE, linewidth=1.6, label="in use")
    _draw_weights(run, size, axes)
    limit = run.begin.limit
    if limit is not None and limit <= 1.5 * max(levels):
        axes.axhline(limit / size, color=RED, linestyle="--", linewidth=1, label="limit")
    _draw_marks(trace, run, axes)
    axes.set_title(
        f"Memory: {trace.label}, peak {format_bytes(run.peak)}",
        fontsize=SMALL, color=SOFT, loc="left", pad=20,
    )  # fmt: skip
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.015, 0.985), ncols=7, frameon=False, fontsize=8,
        handlelength=1.1, handletextpad=0.4, columnspacing=1.1, borderpad=0.1,
    )  # fmt: skip
    _dress(axes, unit)
    axes.tick_params(labelbottom=False)


def draw_seconds(run: RunTrace, axes: Axes) -> None:
    """How long each step took.

    Args:
        run: whose steps.
        axes: where.
    """
    longest = max((step.duration for step in run.steps), default=1.0)
    unit, size = ("s", 1.0) if longest >= 1 else ("ms", 1e-3)
    begins, ends = _times(run)
    bars = axes.bar(
        begins,
        [step.duration / size for step in run.steps],
        width=[max(0.92 * (end - begin), 1e-9) for begin, end in zip(begins, ends, strict=True)],
        color=[COLOURS.get(step.stage, SOFT) for step in run.steps],
        align="edge",
    )
    for bar, step in zip(bars, run.steps, strict=True):
        if step.has_reused:
            bar.set_alpha(0.4)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, max(run.duration, 1e-3))
    _dress(axes, f"{unit} per step")
    light = f"; light: {run.reuse}" if any(step.has_reused for step in run.steps) else ""
    axes.set_xlabel(f"seconds since the run began{light}", fontsize=SMALL, color=SOFT)


def _times(run: RunTrace) -> tuple[list[float], list[float]]:
    """When steps began and ended, in seconds since the run began."""
    begins = [step.start - run.start for step in run.steps]
    return begins, [at + step.duration for at, step in zip(begins, run.steps, strict=True)]


def _draw_bands(run: RunTrace, axes: Axes) -> None:
    named: set[str] = set()
    for stage, group in groupby(run.steps, key=lambda step: step.stage):
        members = list(group)
        begin = members[0].start - run.start
        end = members[-1].start + members[-1].duration - run.start
        colour, label = COLOURS.get(stage, SOFT), f"_{stage}" if stage in named else str(stage)
        axes.axvspan(begin, end, color=colour, alpha=0.3, linewidth=0, label=label)
        named.add(stage)


def _draw_weights(run: RunTrace, size: int, axes: Axes) -> None:
    """The band of the weights, from the axis up; none where the meter does not tell them apart."""
    readings = [run.begin, *(step.reading for step in run.steps)]
    if readings[0].weights is None:
        return
    bottom = max(axes.get_ylim()[0], 0.0)
    levels = [(reading.weights or 0) / size for reading in readings]
    ends = [0.0, *(step.start + step.duration - run.start for step in run.steps)]
    axes.fill_between(
        ends, bottom, [*levels[1:], levels[-1]], step="post", color=WEIGHTS, alpha=0.22,
        linewidth=0, label="weights",
    )  # fmt: skip
    axes.set_ylim(bottom=bottom)


def _draw_marks(trace: Trace, run: RunTrace, axes: Axes) -> None:
    """A line where a switch took effect, and its name beside it, on three levels in turn."""
    for place, event in enumerate(one for one in trace.events if one.time >= run.start):
        at = event.time - run.start
        axes.axvline(at, color=RED, linestyle=":", linewidth=1.2)
        is_late = at > 0.6 * run.duration
        axes.annotate(
            event.text, (at, 0.95 - 0.1 * (place % 3)), xycoords=("data", "axes fraction"),
            xytext=(-4 if is_late else 4, 0), textcoords="offset points", fontsize=8, va="top",
            ha="right" if is_late else "left",
        )  # fmt: skip


def _dress(axes: Axes, label: str) -> None:
    axes.set_ylabel(label, fontsize=SMALL, color=SOFT)
    axes.tick_params(labelsize=8, colors=SOFT, length=2)
    axes.grid(axis="y", color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
