"""A still picture of the last run, for where no widget is live: a saved notebook, a file."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from PIL import Image

from dpnb.stages import Stage
from dpnb.units import format_bytes
from dpnb.widgets.state import RunState

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from dpnb.metering.trace import Trace

COLOURS = {
    Stage.TEXT: "#009e73",
    Stage.ENCODING: "#cc79a7",
    Stage.DENOISING: "#56b4e9",
    Stage.DECODING: "#e69f00",
}


def draw_snapshot(state: RunState) -> Image.Image:
    """The last run: its picture beside memory and durations; blank before the first one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.4), dpi=100, layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 2.4), height_ratios=(1.6, 1))
    picture = figure.add_subplot(grid[:, 0])
    picture.set_axis_off()
    if state.picture:
        picture.imshow(Image.open(io.BytesIO(state.picture)))
    memory = figure.add_subplot(grid[0, 1])
    seconds = figure.add_subplot(grid[1, 1], sharex=memory)
    if state.trace is not None and state.trace.runs:
        _plot(state.trace, memory, seconds)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file)


def _plot(trace: Trace, memory: Axes, seconds: Axes) -> None:
    run = trace.runs[-1]
    times: list[float] = [run.begin.time - run.start]
    levels: list[float] = [run.begin.current / 2**20]
    for step in run.steps:
        begin, end = step.start - run.start, step.start + step.duration - run.start
        colour = COLOURS.get(step.stage, "#999999")
        memory.axvspan(begin, end, color=colour, alpha=0.2, linewidth=0)
        memory.hlines(step.peak / 2**20, begin, end, color="#d55e00")
        width = end - begin
        seconds.bar(begin, step.duration, width=width, align="edge", color=colour)
        times.append(end)
        levels.append(step.current / 2**20)
    memory.plot(times, levels, color="#0072b2")
    memory.set(ylabel="MiB", title=f"{trace.label}: peak {format_bytes(run.peak)}")
    for event in trace.events:
        memory.axvline(event.time - run.start, color="#d55e00", linestyle=":")
        _name(memory, event.time - run.start, event.text)
    seconds.set(xlabel="seconds", ylabel="s per step")


def _name(axes: Axes, at: float, text: str) -> Any:
    return axes.annotate(text, (at, 0.97), xycoords=("data", "axes fraction"), fontsize=7, va="top")
