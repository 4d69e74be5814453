"""Where the parts of charts are: frames, scales and ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MOST_POINTS = 200


LETTER = 6.6
"""Pixels that a letter takes, on average."""


@dataclass(frozen=True)
class Frame:
    """Where the parts of a run's chart are, in pixels.

    Args:
        width: of all.
        left: of the place for the axis of memory.
        right: of the place for the names of curves.
        top: of the place for the title and the legend.
        curve: height of the diagram of memory.
        bars: height of the diagram of durations.
    """

    width: int
    left: int
    right: int
    top: int
    curve: int
    bars: int

    @property
    def middle(self) -> int:
        """Where memory ends."""
        return self.top + self.curve

    @property
    def bottom(self) -> int:
        """Where durations end."""
        return self.middle + GAP + self.bars

    @property
    def height(self) -> int:
        """Of all."""
        return self.bottom + 30

    @property
    def edge(self) -> int:
        """Where both diagrams end."""
        return self.width - self.right


GAP = 38


WIDE = Frame(width=680, left=72, right=66, top=70, curve=170, bars=70)


NARROW = Frame(width=440, left=64, right=58, top=70, curve=150, bars=56)


def in_two_sizes(draw: Callable[[Frame], str]) -> str:
    """What `draw` makes for much room and for little; style sheets show one of them."""
    return (
        f'<div class="dpnb-chart"><div class="dpnb-wide">{draw(WIDE)}</div>'
        f'<div class="dpnb-narrow">{draw(NARROW)}</div></div>'
    )


TIME_UNITS = ((3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
"""Units of time, and how many seconds each has."""


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


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers of bytes between two, at most so many."""
    unit = next(u for u in (1 << 30, 1 << 20, 1 << 10, 1) if high - low >= u or u == 1)
    steps = (unit * factor * 10**power for power in range(5) for factor in (1, 2, 5))
    step = next(step for step in steps if (high - low) / step <= most)
    first = math.ceil(low / step)
    return [step * place for place in range(first, math.floor(high / step) + 1)]


def time_ticks(end: float, most: int) -> list[tuple[float, str]]:
    """Round times above zero, at most so many of them up to `end`, in one unit.

    Args:
        end: in seconds.
        most: how many.

    Returns:
        Seconds, and how they are written.
    """
    size, unit = next((s, u) for s, u in TIME_UNITS if end >= 2 * s or u == TIME_UNITS[-1][1])
    steps = [factor * 10**power for power in range(4) for factor in (1, 2, 5)]
    steps = [*(step / 10 for step in (1, 2, 5)), *steps]
    step = next(step for step in steps if end / size / step <= most)
    count = math.floor(end / size / step + 1e-9)
    return [(n * step * size, f"{n * step:g} {unit}") for n in range(1, count + 1)]
