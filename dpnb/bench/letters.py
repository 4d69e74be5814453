"""Puts a letter beside each plan of a front, so that it covers nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point: TypeAlias = tuple[float, float]

ALPHABET = "abcdefghijklmnopqrstuvwxyz"

LETTERS = (*ALPHABET, *map("".join, product(ALPHABET, repeat=2)))
"""What names the plans of a front: "a" to "z", "aa" …"""

SIDES = ((0, -12), (-11, 0), (11, 0), (0, 12), (-9, -9), (9, 9), (-9, 9), (9, -9))
"""Where a letter may stand beside its point, in points of print; the first ones are preferred."""

RINGS = tuple(1.75 + 0.75 * step for step in range(12))
"""How many times as far away it may stand, where there is no room nearer; a line leads to it."""

ENOUGH = 11.0
"""Points of print between a letter's middle and what is next to it."""

WIDTH = 9.5
"""Points of print that a letter takes at the most."""


def draw_letters(
    figure: Figure,
    axes: Axes,
    front: Sequence[Point],
    points: Sequence[Point],
    budget: float | None,
    colour: str,
) -> None:
    """A letter beside each plan of the front, where it covers neither a mark nor a letter.

    Args:
        figure: with the axes, finished but for the letters.
        axes: whose limits are set.
        front: where its plans are, in the order of their letters.
        points: where all marks are.
        budget: where an upright line is, which no letter covers; `None` without one.
        colour: of letters and lines.
    """
    figure.draw_without_rendering()
    to_points = 72 / figure.dpi
    room = _Room(axes, points, budget, to_points)
    for letter, point in zip(LETTERS, front, strict=False):
        offset = room.take(letter, point)
        leader = {"arrowstyle": "-", "linewidth": 0.6, "color": colour, "shrinkA": 4, "shrinkB": 3}
        axes.annotate(
            letter, point, xytext=offset, textcoords="offset points", ha="center", va="center",
            fontsize=9, fontweight="bold", color=colour,
            arrowprops=None if offset in SIDES else leader,
        ).set_in_layout(False)  # fmt: skip


class _Room:
    """What of a drawing is free, in points of print.

    Args:
        axes: of the drawing.
        points: where marks are.
        budget: where an upright line is.
        to_points: a pixel, in points of print.
    """

    def __init__(
        self, axes: Axes, points: Sequence[Point], budget: float | None, to_points: float
    ) -> None:
        self._axes = axes
        self._to_points = to_points
        self._marks = list(map(self._on_paper, points))
        self._letters: list[tuple[Point, float]] = []
        self._line = None if budget is None else self._on_paper((budget, 0.0))[0]
        box = axes.bbox
        self._edges: list[float] = [edge * to_points for edge in (box.x0, box.x1, box.y0, box.y1)]

    def take(self, letter: str, point: Point) -> Point:
        """The offset from `point` where `letter` stands from now on; the nearest with room."""
        x, y = self._on_paper(point)
        width = WIDTH * len(letter)
        best, most = (0.0, 0.0), -math.inf
        for dx, dy in _offsets():
            free = self._free_around((x + dx, y + dy), width)
            if free > most:
                best, most = (dx, dy), free
            if most >= ENOUGH:
                break
        self._letters.append(((x + best[0], y + best[1]), width))
        return best

    def _on_paper(self, point: Point) -> Point:
        x, y = self._axes.transData.transform(point)
        return float(x) * self._to_points, float(y) * self._to_points

    def _free_around(self, place: Point, width: float) -> float:
        """Points of print to what is next to `place`; from `ENOUGH` on that makes no difference."""
        x, y = place
        beyond = (ENOUGH - width) / 2
        apart = [
            max(abs(x - other) - (width + theirs) / 2 + ENOUGH, abs(y - level))
            for (other, level), theirs in self._letters
        ]
        marks = [math.hypot(max(abs(x - a) + beyond, 0), y - b) for a, b in self._marks]
        left, right, bottom, top = self._edges
        inside = min(x - left, right - x, y - bottom, top - y)
        line = math.inf if self._line is None else 1.5 * (abs(x - self._line) + beyond)
        return min(ENOUGH, *apart, *marks, 1.8 * inside, line)


def _offsets() -> Iterator[Point]:
    """The nearest ones first; on wider rings there are more of them."""
    yield from SIDES
    for far in RINGS:
        count = 8 * round(far)
        for turn in range(count):
            angle = -math.pi / 2 + math.tau * turn / count
            yield 12 * far * math.cos(angle), 12 * far * math.sin(angle)
