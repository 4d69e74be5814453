"""Where two pictures differ, as a picture with a scale."""

from __future__ import annotations

import numpy as np
import pytest

from dpnb.fidelity.heat_map import SMALLEST, STRIP, choose_top, draw_heat_map

RAMP = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (16, 64))


def test_larger_errors_are_lighter_in_grey_too() -> None:
    drawn = np.asarray(draw_heat_map(RAMP, 1.0).convert("L"), dtype=np.int16)
    line = drawn[0]
    assert (np.diff(line) >= 0).all()
    assert line[0] == 0
    assert line[-1] > 220


def test_small_pictures_are_enlarged_by_a_whole_number_and_large_ones_not() -> None:
    assert draw_heat_map(RAMP, 1.0).size == (64 * 16, SMALLEST + STRIP)
    large = np.zeros((300, 400), np.float32)
    assert draw_heat_map(large, 1.0).size == (400, 300 + STRIP)


@pytest.mark.parametrize(("most", "top"), [(0.0, 0.05), (0.0499, 0.05), (0.06, 0.1), (0.9, 1.0)])
def test_a_scale_ends_at_the_next_round_value(most: float, top: float) -> None:
    assert choose_top([np.zeros((4, 4), np.float32), np.full((4, 4), most, np.float32)]) == top


def test_the_scale_stands_below_the_map() -> None:
    drawn = np.asarray(draw_heat_map(RAMP, 1.0).convert("L"), dtype=np.int16)
    bar = drawn[SMALLEST + 10, 8:-8]
    assert (np.diff(bar) >= 0).all()
    assert bar[-1] - bar[0] > 200
