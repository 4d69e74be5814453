"""A still picture of what panels show, for where no widget is live: a saved notebook, a file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont

from dpnb.metering.trace import Trace
from dpnb.strategies.strategy import Plan
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.run_words import describe_plan
from dpnb.widgets.session import Session
from dpnb.widgets.snapshot_chart import draw_memory, draw_seconds
from dpnb.widgets.state import FinishedRun, Request

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 900
"""Pixels in which the picture is meant to be shown; it has half as many again."""

DOTS, SMALL = 150, 8.5
INK, SOFT = "#1b1f24", "#57606a"
ROWS = 4
"""Runs that are told of."""

MARGIN, TABLE, ROW = 0.18, 4.55, 0.25
"""Inches: beside everything, above the table of runs, and of each row of it."""

COLUMNS = (
    ("Run", 0.0, "left"),
    ("Asked for", 0.05, "left"),
    ("Switched on", 0.40, "left"),
    ("In all", 0.78, "right"),
    ("Per step", 0.88, "right"),
    ("Peak", 1.0, "right"),
)


@dataclass(frozen=True)
class Shown:
    """What a still picture shows, made by `Shown.of(session)`.

    Args:
        name: of the pipeline's class.
        plan: what is switched on.
        trace: of the last run; `None` before the first one.
        runs: those that are over.
        picture: a PNG file; empty where there is none.
        request: what was asked for; `None` where a cell has begun the run.
        message: how the run has ended.
    """

    name: str
    plan: Plan
    trace: Trace | None
    runs: tuple[FinishedRun, ...]
    picture: bytes
    request: Request | None
    message: str

    @classmethod
    def of(cls, session: Session) -> Shown:
        """What the panels of `session` show now."""
        with session.lock:
            state, name = session.run_state, session.pipe.class_name
            return cls(
                name,
                session.strategy_state.active,
                state.trace,
                state.history,
                state.picture,
                state.pictured,
                state.message,
            )

    def describe(self) -> str:
        """The same in words, for those who do not see it."""
        on = describe_plan(self.plan)
        if self.trace is None or not self.trace.runs:
            return f"{self.name}: nothing has been drawn yet; {on}."
        asked = describe_in_short(self.request)
        peak = format_bytes(self.trace.runs[-1].peak)
        return f"{self.name}: {asked}. {self.message} Peak {peak} ({self.trace.label}); {on}."


def draw_snapshot(shown: Shown) -> Image.Image:
    """The last run: its picture and settings beside memory and time, what is on, and runs before.

    Args:
        shown: what is drawn. Before the first run a line says that there was none.
    """
    if shown.trace is None or not shown.trace.runs:
        return _draw_line(shown.describe())
    from matplotlib.figure import Figure

    rows = shown.runs[-ROWS:]
    figure = Figure((WIDTH / 100, TABLE + ROW * (len(rows) + 1.3)), DOTS, facecolor="white")
    _write_heading(figure, shown)
    _draw_picture(figure, shown)
    memory = _add_axes(figure, 3.45, 1.24, 5.4, 1.6)
    draw_memory(shown.trace, memory)
    draw_seconds(shown.trace.runs[-1], _add_axes(figure, 3.45, 2.99, 5.4, 0.95, sharex=memory))
    _draw_rows(_add_axes(figure, MARGIN, TABLE, 9 - 2 * MARGIN, ROW * (len(rows) + 1)), rows)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return Image.open(file)


def describe_in_short(request: Request | None) -> str:
    """What was asked for, in a line."""
    if request is None:
        return "begun from a cell"
    return ", ".join([request.prompt or "no prompt", *_list_numbers(request)])


def _list_numbers(request: Request) -> list[str]:
    numbers = [f"seed {request.seed}"]
    if request.steps is not None:
        numbers.append(_count_steps(request.steps))
    if request.guidance_scale is not None:
        numbers.append(f"guidance {request.guidance_scale:g}")
    if request.width is not None and request.height is not None:
        numbers.append(f"{request.width} × {request.height}")
    if request.scheduler is not None:
        numbers.append(request.scheduler)
    return numbers


def _draw_line(words: str) -> Image.Image:
    """A line of words, as wide as the picture."""
    from matplotlib.font_manager import findfont

    scale = DOTS / 100
    image = Image.new("RGB", (round(WIDTH * scale), round(36 * scale)), "white")
    font = ImageFont.truetype(findfont("DejaVu Sans"), round(13 * scale))
    place = (12 * scale, image.height / 2)
    line = shorten(printable(words), 120, placeholder=" …")
    ImageDraw.Draw(image).text(place, line, SOFT, font=font, anchor="lm")
    return image


def _add_axes(
    figure: Figure, left: float, top: float, width: float, height: float, **more: Any
) -> Axes:
    """Axes at a place in inches from the upper left corner."""
    wide, high = figure.get_size_inches()
    box = (left / wide, 1 - (top + height) / high, width / wide, height / high)
    return figure.add_axes(box, **more)


def _write_heading(figure: Figure, shown: Shown) -> None:
    """The pipeline and how the run has ended, and below what is switched on."""
    number = f"Run {shown.runs[-1].number}: " if shown.runs else ""
    axes = _add_axes(figure, MARGIN, 0.08, 9 - 2 * MARGIN, 0.6)
    axes.set_axis_off()
    _write(axes, 0, 0.75, shown.name, size=13, weight="bold")
    _write(axes, 1, 0.75, f"{number}{shown.message}", size=10, color=SOFT, ha="right")
    on = shorten(describe_plan(shown.plan), 110, placeholder=" …")
    _write(axes, 0, 0.2, f"Switched on: {on}" if shown.plan else "Nothing is switched on", size=10)


def _draw_picture(figure: Figure, shown: Shown) -> None:
    """The picture, and below it what was asked for."""
    axes = _add_axes(figure, MARGIN, 0.9, 2.6, 2.6)
    axes.set_axis_off()
    if shown.picture:
        axes.imshow(Image.open(io.BytesIO(shown.picture)), interpolation="antialiased")
    else:
        _write(axes, 0.5, 0.5, "no picture", color=SOFT, ha="center")
    below = _add_axes(figure, MARGIN, 3.56, 2.9, 0.94)
    below.set_axis_off()
    request = shown.request
    prompt = wrap(describe_in_short(None) if request is None else request.prompt, 40)
    if len(prompt) > 3:
        prompt = [*prompt[:2], f"{prompt[2]} …"]
    numbers = [] if request is None else wrap(", ".join(_list_numbers(request)), 46)
    for place, line in enumerate(prompt):
        _write(below, 0, 0.92 - 0.18 * place, line, size=9.5)
    for place, line in enumerate(numbers[:2], start=len(prompt)):
        _write(below, 0, 0.90 - 0.18 * place, line, size=SMALL, color=SOFT)


def _draw_rows(axes: Axes, runs: Sequence[FinishedRun]) -> None:
    """A table of the last runs."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(len(runs) + 1, 0))
    for name, x, side in COLUMNS:
        _write(axes, x, 0.5, name, size=SMALL, color=SOFT, ha=side)
    for place, run in enumerate(reversed(runs), start=1):
        axes.axhline(place, color="#d0d7de", linewidth=0.6)
        for (_, x, side), words in zip(COLUMNS, _cells(run), strict=True):
            _write(axes, x, place + 0.5, words, size=SMALL, ha=side)


def _cells(run: FinishedRun) -> tuple[str, ...]:
    done, each = run.trace.runs[0], run.trace.seconds_per_step
    ending = "" if done.outcome == "finished" else f" ({name_outcome(done.outcome)})"
    return (
        str(run.number),
        _describe_shortly(run.request),
        shorten(describe_plan(run.used), 45, placeholder=" …"),
        f"{format_seconds(done.duration)}{ending}",
        "–" if each is None else format_seconds(each),
        format_bytes(done.peak),
    )


def name_outcome(outcome: str) -> str:
    """How a run has ended, in a word for people."""
    return {"left": "stopped", "interrupted": "stopped"}.get(outcome, outcome)


def _describe_shortly(request: Request | None) -> str:
    if request is None:
        return describe_in_short(None)
    steps = "" if request.steps is None else f", {_count_steps(request.steps)}"
    prompt = shorten(request.prompt or "no prompt", 26, placeholder=" …")
    return f"{prompt}, seed {request.seed}{steps}"


def _count_steps(steps: int) -> str:
    return f"{steps} step{'s' * (steps != 1)}"


def _write(place: Any, x: float, y: float, words: str, color: str = INK, **look: Any) -> None:
    """Words as they are: no formulas, and a box for what the font does not have."""
    place.text(x, y, printable(words), color=color, va="center", parse_math=False, **look)


def printable(words: str) -> str:
    """The words with a box in the place of each letter that the figure's font does not have."""
    from matplotlib.font_manager import findfont, get_font

    known = get_font(findfont("DejaVu Sans")).get_charmap()
    return "".join(letter if ord(letter) in known or letter == "\n" else "□" for letter in words)
