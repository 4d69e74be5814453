from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFont

from dpnb.pipelines.pictures.labelled_sheet import (
    FONT,
    FONT_SIZE,
    GAP,
    LARGEST,
    SMALLEST,
    draw_sheet,
    wrap_text,
)

TYPE = ImageFont.truetype(str(Path(mpl.get_data_path()) / FONT), FONT_SIZE)
RED, BLUE = (255, 0, 0), (0, 0, 255)


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (200, 200)) -> Image.Image:
    return Image.new("RGB", size, colour)


def box(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a colour."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=60), st.integers(20, 200), st.integers(1, 4))
def test_lines_fit_and_nothing_is_lost_but_what_is_marked(text: str, width: int, most: int) -> None:
    lines = list(wrap_text(text, TYPE, width, most))
    assert len(lines) <= most
    assert all(TYPE.getlength(one) <= width for one in lines if len(one) > 1)
    whole, words = "".join(lines).replace(" ", ""), "".join(text.split())
    assert whole == words or (lines[-1].endswith("…") and words.startswith(whole[:-1]))


def test_pictures_stand_in_their_rows_and_columns() -> None:
    sheet = draw_sheet([[picture(RED), None], [None, picture(BLUE)]], ["a", "b"], ["c", "d"], "e")
    red, blue = box(sheet, RED), box(sheet, BLUE)
    assert (red[2] - red[0], red[3] - red[1]) == (200, 200)
    assert blue[0] == red[2] + GAP
    assert blue[1] == red[3] + GAP
    assert (blue[2] + GAP, blue[3] + GAP) == sheet.size


@pytest.mark.parametrize(
    ("size", "shown"),
    [((64, 32), (SMALLEST, 80)), ((200, 100), (200, 100)), ((512, 2048), (128, LARGEST))],
)
def test_small_pictures_are_enlarged_and_large_ones_reduced(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    left, top, right, bottom = box(draw_sheet([[picture(RED, size)]], [""], [""]), RED)
    assert (right - left, bottom - top) == shown


def test_without_labels_no_room_is_left_for_them() -> None:
    assert draw_sheet([[picture(RED)]], [""], [""]).size == (200 + 2 * GAP, 200 + 2 * GAP)


def test_words_do_not_reach_the_pictures_or_the_edge() -> None:
    words = "Supercalifragilisticexpialidocious " * 20
    sheet = draw_sheet([[picture(RED)] * 2] * 2, [words] * 2, [words] * 2, words)
    inked: Any = (np.asarray(sheet) < 128).all(-1)
    left, top, right, bottom = box(sheet, RED)
    assert not inked[top:bottom, left:right].any()
    assert not inked[:, :GAP].any()
    assert not inked[:, right:].any()
    assert inked[:top].any()
    assert inked[top:bottom, :left].any()
