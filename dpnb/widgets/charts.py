"""Charts of measured runs as SVG: pure functions, in the colours of the page's theme."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from dpnb.metering.trace import RunTrace, StepTrace, Trace
from dpnb.stages import Stage
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.svg import BLUE, LINE, ORANGE, RED, line, rect, svg, text

WIDTH, LEFT, RIGHT = 860, 74, 78
TOP, CURVE, GAP, BARS, BOTTOM = 54, 190, 38, 84, 30
MOST_POINTS = 200
SMALLEST_SPREAD = 4.0 * 2**20

STAGES = {
    Stage.TEXT: ("text", "var(--dpnb-green, #009e73)"),
    Stage.ENCODING: ("encoding", "var(--dpnb-rose, #cc79a7)"),
    Stage.DENOISING: ("denoising", "var(--dpnb-sky, #56b4e9)"),
    Stage.DECODING: ("decoding", "var(--dpnb-orange, #e69f00)"),
}

Point = tuple[float, float]


@dataclass(frozen=True)
class Scale:
    """From values to places along an axis.

    Args:
        low: the value at `start`.
        high: the value at `end`.
        start: a place.
        end: another.
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / ((self.high - self.low) or 1)
        return round(self.start + share * (self.end - self.start), 1)


def run_chart(trace: Trace, horizon: float | None = None) -> str:
    """Memory above and the duration of every step below, on one axis of time.

    Args:
        trace: of one run; of several, the last is shown.
        horizon: seconds that the axis shows at least, while the run goes on.

    Returns:
        An SVG element, whose label says the numbers.
    """
    run = trace.runs[-1]
    end = max(run.duration, horizon or 0.0, 1e-3)
    x = Scale(run.start, run.start + end, LEFT, WIDTH - RIGHT)
    height = TOP + CURVE + GAP + BARS + BOTTOM
    parts = [
        *_shades(run.steps, x),
        *_memory(trace, run, x),
        *_durations(run.steps, x),
        *_time_axis(end, x, height),
        *_marks(trace, run, x),
    ]
    return svg(WIDTH, height, describe_run_chart(trace), parts)


def describe_run_chart(trace: Trace) -> str:
    """What a run's chart shows, in a sentence for those who do not see it."""
    run = trace.runs[-1]
    stages = [
        f"{name} {format_seconds(stage.seconds)} with a peak of {format_bytes(stage.peak)}"
        for name, stage in run.by_stage().items()
    ]
    marks = [f"{event.text} at {format_seconds(event.time - run.start)}" for event in trace.events]
    switched = f" Switched: {', '.join(marks)}." if marks else ""
    return (
        f"Memory ({trace.label}) and time of a run: {'; '.join(stages) or 'nothing yet'}.{switched}"
    )


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most `most` points, in which the highest and lowest of every stretch remain."""
    if len(points) <= most:
        return list(points)
    size = -(-2 * len(points) // most)
    kept: list[Point] = []
    for first in range(0, len(points), size):
        stretch = points[first : first + size]
        ends = {min(stretch, key=lambda p: p[1]), max(stretch, key=lambda p: p[1])}
        kept.extend(sorted(ends))
    return kept


def comparison_chart(rows: Sequence[tuple[str, int, float | None]]) -> str:
    """Peak memory and seconds per step of several runs, as bars side by side.

    Args:
        rows: a name, the peak in bytes, and seconds per step.
    """
    height = 34 + 26 * len(rows)
    names, half = 190, (WIDTH - 190) // 2
    peaks = max((peak for _, peak, _ in rows), default=0) or 1
    times = max((seconds or 0.0 for *_, seconds in rows), default=0.0) or 1.0
    parts = [
        text(names, 16, "peak memory", "soft"),
        text(names + half, 16, "seconds per step", "soft"),
    ]
    for place, (name, peak, seconds) in enumerate(rows):
        y = 28 + 26 * place
        parts.append(text(0, y + 14, _shorten(name, 28)))
        parts.extend(_bar(names, y, peak / peaks * (half - 110), BLUE, format_bytes(peak)))
        if seconds is not None:
            length = seconds / times * (half - 110)
            parts.extend(_bar(names + half, y, length, RED, format_seconds(seconds)))
    words = "; ".join(f"{name}: {format_bytes(peak)}" for name, peak, _ in rows)
    return svg(WIDTH, height, f"Comparison of runs by peak memory: {words}.", parts)


def _bar(x: float, y: float, length: float, colour: str, label: str) -> list[str]:
    return [
        rect(x, y, max(length, 1), 18, colour, 'rx="3"'),
        text(x + max(length, 1) + 6, y + 14, label),
    ]


def _shades(steps: Sequence[StepTrace], x: Scale) -> Iterator[str]:
    """A band for each stage, over both diagrams, with its name above where there is room."""
    bottom = TOP + CURVE + GAP + BARS
    for stage, group in groupby(steps, key=lambda step: step.stage):
        members = list(group)
        left, right = x(members[0].start), x(members[-1].start + members[-1].duration)
        name, colour = STAGES.get(stage, (stage, LINE))
        band = rect(left, TOP, right - left, bottom - TOP, colour, 'opacity=".16"')
        yield (
            f"<g><title>{html.escape(name)}</title>{band}"
            f"{rect(left, TOP - 4, max(right - left, 2), 4, colour)}</g>"
        )
        if right - left > 7 * len(name):
            yield text((left + right) / 2, TOP - 8, name, "soft", "middle")


def _memory(trace: Trace, run: RunTrace, x: Scale) -> Iterator[str]:
    points = _curve(trace, run)
    peaks = [step.peak for step in run.steps]
    values = [value for _, value in points] + [float(peak) for peak in peaks]
    low, high = _range(values)
    y = Scale(low, high, TOP + CURVE, TOP + 6)
    yield from _value_axis(y, low, high)
    yield text(LEFT, 14, f"Memory: {trace.label}", "soft")
    yield from _legend({step.stage for step in run.steps})
    for step in run.steps:
        left, right, top = x(step.start), x(step.start + step.duration), y(step.peak)
        tip = f"peak of {step.stage} step {step.index + 1}: {format_bytes(step.peak)}"
        yield f"<g><title>{html.escape(tip)}</title>{line(left, top, right, top, RED)}</g>"
    path = " ".join(f"{x(time)},{y(value)}" for time, value in thin(points))
    yield f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="2"/>'
    edge = WIDTH - RIGHT + 6
    if peaks:
        yield text(edge, y(max(peaks)) + 4, "peak", "soft")
    if points and (not peaks or abs(y(points[-1][1]) - y(max(peaks))) > 13):
        yield text(edge, y(points[-1][1]) + 4, "in use", "soft")
    limit = run.begin.limit
    if limit is not None and limit <= high:
        yield line(LEFT, y(limit), WIDTH - RIGHT, y(limit), RED, "6 3")
        yield text(edge, y(limit) + 4, "limit", "soft")
    reserved = [
        (s.start + s.duration, float(s.reading.reserved)) for s in run.steps if s.reading.reserved
    ]
    if reserved:
        path = " ".join(f"{x(time)},{y(min(value, high))}" for time, value in thin(reserved))
        yield f'<polyline points="{path}" fill="none" stroke="{ORANGE}" stroke-dasharray="4 2"/>'
        yield text(edge, y(min(reserved[-1][1], high)) - 8, "reserved", "soft")


def _curve(trace: Trace, run: RunTrace) -> list[Point]:
    ends = [(step.start + step.duration, float(step.current)) for step in run.steps]
    samples = [(s.time, float(s.current)) for s in trace.samples if s.time >= run.start]
    return sorted([(run.begin.time, float(run.begin.current)), *samples, *ends])


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From zero, unless that would press the curve flat."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    spread = max(high - low, high * 0.01, SMALLEST_SPREAD)
    bottom = 0.0 if low < 2 * spread else low - 0.25 * spread
    return bottom, high + 0.12 * spread


def _value_axis(y: Scale, low: float, high: float) -> Iterator[str]:
    for value in ticks(low, high):
        yield line(LEFT, y(value), WIDTH - RIGHT, y(value), LINE)
        yield text(LEFT - 6, y(value) + 4, format_bytes(round(value)), "soft", "end")


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers of bytes between two, at most so many."""
    unit = next(u for u in (1 << 30, 1 << 20, 1 << 10, 1) if high - low >= u or u == 1)
    steps = (unit * factor * 10**power for power in range(5) for factor in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step <= most)
    first = math.ceil(low / step)
    return [step * place for place in range(first, math.floor(high / step) + 1)]


def _legend(present: set[str]) -> Iterator[str]:
    """What the colours of the stages mean: of those that every run has, and of those `present`."""
    shown = [
        look for stage, look in STAGES.items() if stage is not Stage.ENCODING or stage in present
    ]
    for place, (name, colour) in enumerate(shown):
        left = WIDTH - RIGHT - 88 * (len(shown) - place)
        yield rect(left, 5, 10, 10, colour, 'rx="2"')
        yield text(left + 14, 14, name, "soft")


def _durations(steps: Sequence[StepTrace], x: Scale) -> Iterator[str]:
    bottom = TOP + CURVE + GAP + BARS
    most = max((step.duration for step in steps), default=0.0) or 1.0
    y = Scale(0, most, bottom, TOP + CURVE + GAP + 4)
    yield text(LEFT, TOP + CURVE + GAP - 6, "Seconds for each step", "soft")
    yield line(LEFT, bottom, WIDTH - RIGHT, bottom, LINE)
    yield text(LEFT - 6, y(most) + 8, format_seconds(most) if steps else "", "soft", "end")
    for step in steps:
        left, right = x(step.start), x(step.start + step.duration)
        tip = f"{step.stage} step {step.index + 1}: {format_seconds(step.duration)}"
        colour = STAGES.get(step.stage, (step.stage, BLUE))[1]
        look = "" if step.is_complete else 'stroke-dasharray="3 2" fill-opacity=".3"'
        top = y(step.duration)
        bar = rect(left + 0.5, top, max(right - left - 1, 1), bottom - top, colour, look)
        yield f"<g><title>{html.escape(tip)}</title>{bar}</g>"


def _time_axis(end: float, x: Scale, height: float) -> Iterator[str]:
    for part in range(5):
        at = x(x.low + end * part / 4)
        yield text(
            at, height - 10, format_seconds(end * part / 4) if part else "0", "soft", "middle"
        )


def _marks(trace: Trace, run: RunTrace, x: Scale) -> Iterator[str]:
    """A line where a switch took effect, and its name beside it, on three levels in turn."""
    bottom = TOP + CURVE + GAP + BARS
    for place, event in enumerate(e for e in trace.events if e.time >= run.start):
        at, level = x(event.time), TOP + 16 + 16 * (place % 3)
        aside, anchor = (-7, "end") if at > WIDTH * 0.62 else (7, "start")
        yield (
            f'<g class="dpnb-mark"><title>{html.escape(event.text)}</title>'
            f"{line(at, TOP - 4, at, bottom, RED, '2 3')}"
            f'<circle cx="{at}" cy="{level - 4}" r="3.5" fill="{RED}"/>'
            f"{text(at + aside, level, event.text, '', anchor)}</g>"
        )


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
