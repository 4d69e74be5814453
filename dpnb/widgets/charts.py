"""Charts of measured runs as SVG: pure functions, in the colours of the page's theme."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from itertools import groupby

from dpnb.metering.reading import Reading
from dpnb.metering.trace import RunTrace, StepTrace, Trace
from dpnb.stages import Stage
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.chart_frames import (
    GAP,
    LETTER,
    WIDE,
    Frame,
    Point,
    Scale,
    thin,
    ticks,
    time_ticks,
)
from dpnb.widgets.svg import BLUE, LINE, ORANGE, RED, line, rect, svg, text

SMALLEST_SPREAD = 4.0 * 2**20

WEIGHTS = "var(--dpnb-soft, #57606a)"


STAGES = {
    Stage.TEXT: ("text", "var(--dpnb-green, #009e73)"),
    Stage.ENCODING: ("encoding", "var(--dpnb-rose, #cc79a7)"),
    Stage.DENOISING: ("denoising", "var(--dpnb-sky, #56b4e9)"),
    Stage.DECODING: ("decoding", "var(--dpnb-orange, #e69f00)"),
}


def run_chart(trace: Trace, horizon: float | None = None, frame: Frame = WIDE) -> str:
    """Memory above and the duration of every step below, on one axis of time.

    Args:
        trace: of one run; of several, the last is shown.
        horizon: seconds that the axis shows at least, while the run goes on.
        frame: where its parts are.

    Returns:
        An SVG element, whose label says the numbers.
    """
    run = trace.runs[-1]
    end = max(run.duration, horizon or 0.0, 1e-3)
    x = Scale(run.start, run.start + end, frame.left, frame.edge)
    parts = [
        *_shades(run.steps, x, frame),
        *_memory(trace, run, x, frame),
        *_durations(run, x, frame),
        *_time_axis(end, x, frame),
        *_marks(trace, run, x, frame),
    ]
    return svg(frame.width, frame.height, describe_run_chart(trace), parts)


def describe_run_chart(trace: Trace) -> str:
    """What a run's chart shows, in a sentence for those who do not see it."""
    run = trace.runs[-1]
    stages = [
        f"{name} {format_seconds(stage.seconds)} with a peak of {format_bytes(stage.peak)}"
        for name, stage in run.by_stage().items()
    ]
    marks = [f"{event.text} at {format_seconds(event.time - run.start)}" for event in trace.events]
    switched = f" Switched: {', '.join(marks)}." if marks else ""
    reused = f" {run.reuse.capitalize()}." if run.reuse else ""
    return (
        f"Memory ({trace.label}) and time of a run: {'; '.join(stages) or 'nothing yet'}."
        f"{reused}{switched}"
    )


def comparison_chart(rows: Sequence[tuple[str, int, float | None]], width: int = WIDE.width) -> str:
    """Peak memory and seconds per step of several runs, as bars side by side.

    Args:
        rows: a name, the peak in bytes, and seconds per step.
        width: in pixels.
    """
    height = 34 + 26 * len(rows)
    names = round(0.34 * width)
    half = (width - names) // 2
    peaks = max((peak for _, peak, _ in rows), default=0) or 1
    times = max((seconds or 0.0 for *_, seconds in rows), default=0.0) or 1.0
    parts = [
        text(names, 16, "peak memory", "soft"),
        text(names + half, 16, "seconds per step", "soft"),
    ]
    for place, (name, peak, seconds) in enumerate(rows):
        y = 28 + 26 * place
        parts.append(text(0, y + 14, _shorten(name, int(names / LETTER))))
        parts.extend(_bar(names, y, peak / peaks * (half - 110), BLUE, format_bytes(peak)))
        if seconds is not None:
            length = seconds / times * (half - 110)
            parts.extend(_bar(names + half, y, length, RED, format_seconds(seconds)))
    words = "; ".join(f"{name}: {format_bytes(peak)}" for name, peak, _ in rows)
    return svg(width, height, f"Comparison of runs by peak memory: {words}.", parts)


def _bar(x: float, y: float, length: float, colour: str, label: str) -> list[str]:
    return [
        rect(x, y, max(length, 1), 18, colour, 'rx="3"'),
        text(x + max(length, 1) + 6, y + 14, label),
    ]


def _shades(steps: Sequence[StepTrace], x: Scale, frame: Frame) -> Iterator[str]:
    """A band for each stage, over both diagrams, with its name above where there is room."""
    top = frame.top
    for stage, group in groupby(steps, key=lambda step: step.stage):
        members = list(group)
        left, right = x(members[0].start), x(members[-1].start + members[-1].duration)
        name, colour = STAGES.get(stage, (stage, LINE))
        band = rect(left, top, right - left, frame.bottom - top, colour, 'opacity=".16"')
        yield (
            f"<g><title>{html.escape(name)}</title>{band}"
            f"{rect(left, top - 4, max(right - left, 2), 4, colour)}</g>"
        )
        if right - left > 7 * len(name):
            yield text((left + right) / 2, top - 8, name, "soft", "middle")


def _memory(trace: Trace, run: RunTrace, x: Scale, frame: Frame) -> Iterator[str]:
    points = _curve(trace, run)
    peaks = [step.peak for step in run.steps]
    weights = run.begin.weights
    values = [value for _, value in points] + [float(peak) for peak in peaks]
    low, high = _range([*values, *(float(r.weights) for r in _readings(run) if r.weights)])
    y = Scale(low, high, frame.middle, frame.top + 6)
    yield from _value_axis(y, low, high, frame)
    begins = f", axis from {format_bytes(round(low))}" if low else ""
    yield text(frame.left, 14, f"Memory: {trace.label}{begins}", "soft")
    yield from _legend({step.stage for step in run.steps}, weights is not None, frame)
    if weights is not None:
        yield from _weights(run, x, y, frame)
    for step in run.steps:
        left, right, top = x(step.start), x(step.start + step.duration), y(step.peak)
        tip = f"peak of {step.stage} step {step.index + 1}: {format_bytes(step.peak)}"
        yield f"<g><title>{html.escape(tip)}</title>{line(left, top, right, top, RED)}</g>"
    path = " ".join(f"{x(time)},{y(value)}" for time, value in thin(points))
    yield f'<polyline points="{path}" fill="none" stroke="{BLUE}" stroke-width="2"/>'
    edge = frame.edge + 6
    if peaks:
        yield text(edge, y(max(peaks)) + 4, "peak", "soft")
    if points and (not peaks or abs(y(points[-1][1]) - y(max(peaks))) > 13):
        yield text(edge, y(points[-1][1]) + 4, "in use", "soft")
    limit = run.begin.limit
    if limit is not None and limit <= high:
        yield line(frame.left, y(limit), frame.edge, y(limit), RED, "6 3")
        yield text(edge, y(limit) + 4, "limit", "soft")
    reserved = [
        (s.start + s.duration, float(s.reading.reserved)) for s in run.steps if s.reading.reserved
    ]
    if reserved:
        path = " ".join(f"{x(time)},{y(min(value, high))}" for time, value in thin(reserved))
        yield f'<polyline points="{path}" fill="none" stroke="{ORANGE}" stroke-dasharray="4 2"/>'
        yield text(edge, y(min(reserved[-1][1], high)) - 8, "reserved", "soft")


def _weights(run: RunTrace, x: Scale, y: Scale, frame: Frame) -> Iterator[str]:
    """The band of the weights, from the axis up, with its size where there is room."""
    readings = _readings(run)
    ends = [x(run.start), *(x(step.start + step.duration) for step in run.steps)]
    ends[-1] = max(ends[-1], x(run.start))
    levels = [min(y(reading.weights or 0), frame.middle) for reading in readings]
    corners = [f"{frame.left},{frame.middle}"]
    for place, level in enumerate(levels):
        begin = ends[place - 1] if place else ends[0]
        corners += [f"{begin},{level}", f"{ends[place]},{level}"]
    corners.append(f"{ends[-1]},{frame.middle}")
    words = f"weights {format_bytes(readings[-1].weights or 0)}"
    yield (
        f'<g class="dpnb-weights"><title>{words}</title><polygon points="{" ".join(corners)}" '
        f'fill="{WEIGHTS}" opacity=".22"/></g>'
    )
    if frame.middle - levels[-1] > 18 and ends[-1] - frame.left > LETTER * len(words) + 8:
        yield text(frame.left + 6, frame.middle - 6, words, "halo")


def _readings(run: RunTrace) -> list[Reading]:
    """Those of the run's beginning and of the ends of its steps."""
    return [run.begin, *(step.reading for step in run.steps)]


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


def _value_axis(y: Scale, low: float, high: float, frame: Frame) -> Iterator[str]:
    for value in ticks(low, high):
        yield line(frame.left, y(value), frame.edge, y(value), LINE)
        yield text(frame.left - 6, y(value) + 4, format_bytes(round(value)), "soft", "end")


def _legend(present: set[Stage], has_weights: bool, frame: Frame) -> Iterator[str]:
    """What the colours mean: of the stages that every run has, and of those `present`."""
    shown = [
        look for stage, look in STAGES.items() if stage is not Stage.ENCODING or stage in present
    ]
    if has_weights:
        shown.insert(0, ("weights", WEIGHTS))
    left: float = frame.left
    top = 23
    for name, colour in shown:
        yield rect(left, top, 10, 10, colour, 'rx="2"' + ' opacity=".5"' * (name == "weights"))
        yield text(left + 14, top + 9, name, "soft")
        left += _legend_width((name, colour))


def _legend_width(entry: tuple[str, str]) -> float:
    return 30 + LETTER * len(entry[0])


def _durations(run: RunTrace, x: Scale, frame: Frame) -> Iterator[str]:
    """A bar for each step; it is light where something was reused."""
    steps, bottom = run.steps, frame.bottom
    most = max((step.duration for step in steps), default=0.0) or 1.0
    y = Scale(0, most, bottom, frame.middle + GAP + 4)
    light = f"; light: {run.reuse}" if any(step.has_reused for step in steps) else ""
    yield text(frame.left, frame.middle + GAP - 6, f"Seconds for each step{light}", "soft")
    yield line(frame.left, bottom, frame.edge, bottom, LINE)
    for value, label in time_ticks(most, 2) if steps else []:
        yield line(frame.left, y(value), frame.edge, y(value), LINE)
        yield text(frame.left - 6, y(value) + 4, label, "soft", "end")
    for step in steps:
        left, right = x(step.start), x(step.start + step.duration)
        tip = f"{step.stage} step {step.index + 1}: {format_seconds(step.duration)}"
        colour = STAGES.get(step.stage, (step.stage, BLUE))[1]
        look = "" if step.is_complete else 'stroke-dasharray="3 2" fill-opacity=".3"'
        if step.has_reused:
            tip, look = f"{tip}, reused", f'class="dpnb-reused" fill-opacity=".4" stroke="{colour}"'
        top = y(step.duration)
        bar = rect(left + 0.5, top, max(right - left - 1, 1), bottom - top, colour, look)
        yield f"<g><title>{html.escape(tip)}</title>{bar}</g>"


def _time_axis(end: float, x: Scale, frame: Frame) -> Iterator[str]:
    for seconds, label in [(0.0, "0"), *time_ticks(end, 5)]:
        at = x(x.low + seconds)
        yield line(at, frame.bottom, at, frame.bottom + 4, LINE)
        yield text(at, frame.height - 12, label, "soft", "middle")


def _marks(trace: Trace, run: RunTrace, x: Scale, frame: Frame) -> Iterator[str]:
    """A line where a switch took effect, and its name beside it, on three levels in turn."""
    for place, event in enumerate(e for e in trace.events if e.time >= run.start):
        at, level = x(event.time), frame.top + 16 + 16 * (place % 3)
        room = max(at - frame.left, frame.edge - at) - 10
        is_left = at - frame.left > frame.edge - at
        aside, anchor = (-7, "end") if is_left else (7, "start")
        name = _shorten(event.text, int(room / LETTER))
        yield (
            f'<g class="dpnb-mark"><title>{html.escape(event.text)}</title>'
            f"{line(at, frame.top - 4, at, frame.bottom, RED, '2 3')}"
            f'<circle cx="{at}" cy="{level - 4}" r="3.5" fill="{RED}"/>'
            f"{text(at + aside, level, name, 'halo', anchor)}</g>"
        )


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
