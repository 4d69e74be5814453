"""Letters beside the plans of a front: they stand apart, whatever was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.random import default_rng

from dpnb.bench.letters import draw_letters

POINT = tuple[float, float]


def letters_of(axes: Any) -> list[Any]:
    """The texts of `axes` that name plans."""
    return [text for text in axes.texts if text.get_text().isalpha() and len(text.get_text()) < 3]


def assert_apart(figure: Any, letters: Sequence[Any], marks: Sequence[POINT] = ()) -> None:
    """No letter is on another, on a mark, or outside of the figure, as it is drawn."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in letters]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert not any(
            box.contains(x, y)
            for x, y in letters[number].axes.transData.transform(marks or [(-9, -9)])
        )
        assert 0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert 0 <= box.y0 <= box.y1 <= figure.bbox.y1


def front_of(points: Sequence[POINT]) -> list[POINT]:
    """The points that no other is left of and below."""
    return [
        (x, y)
        for x, y in sorted(points)
        if not any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
    ]


def drawing_of(points: Sequence[POINT], budget: float | None = None) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 1.05), ylim=(0, 1.1), xlabel="peak memory (MiB)")
    axes.scatter(*zip(*points, strict=True))
    draw_letters(figure, axes, front_of(points), points, budget, "black")
    return figure, axes


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("narrow", [1.0, 0.2, 0.02])
def test_letters_of_any_front_stand_apart(seed: int, narrow: float) -> None:
    rng = default_rng(seed)
    count = int(rng.integers(1, 40))
    across, up = rng.random(count) ** 3, rng.random(count) ** 3
    middle = rng.random(2) * (1 - narrow)
    points = [
        (middle[0] + narrow * a, middle[1] + narrow * b) for a, b in zip(across, up, strict=True)
    ]
    budget = float(rng.random())
    figure, axes = drawing_of(points, budget)
    assert len(letters_of(axes)) == len(front_of(points))
    assert_apart(figure, letters_of(axes), points)
    line = axes.transData.transform((budget, 0))[0]
    boxes = [Text.get_window_extent(text) for text in letters_of(axes)]
    assert not any(box.x0 < line < box.x1 for box in boxes)


def test_letters_of_a_crowd_stand_apart_and_lines_lead_to_them() -> None:
    crowd = [(0.5 + 0.01 * number, 0.5 - 0.01 * number) for number in range(12)]
    figure, axes = drawing_of(crowd)
    letters = letters_of(axes)
    assert_apart(figure, letters, crowd)
    assert any(text.arrow_patch for text in letters)
    assert not all(text.arrow_patch for text in letters)


def test_forty_plans_on_one_spot_have_forty_letters_apart() -> None:
    crowd = [(0.001 * number, 0.04 - 0.001 * number) for number in range(40)]
    figure, axes = drawing_of(crowd)
    assert [text.get_text() for text in letters_of(axes)][25:28] == ["z", "aa", "ab"]
    assert_apart(figure, letters_of(axes), crowd)
