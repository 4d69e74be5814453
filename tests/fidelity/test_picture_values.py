"""Pictures of whatever form, as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dpnb.fidelity.picture_values import pair_pictures, to_levels

LEVELS = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)


def test_all_forms_of_a_picture_have_the_same_values() -> None:
    unit = LEVELS.astype(np.float32) / 255
    forms: list[Any] = [
        Image.fromarray(LEVELS), LEVELS, unit, unit.astype(np.float64), [LEVELS], LEVELS[None],
        LEVELS[None, None], (Image.fromarray(LEVELS),), LEVELS.astype(np.int64),
        torch.from_numpy(unit).movedim(-1, 0)[None], torch.from_numpy(LEVELS).movedim(-1, 0),
        torch.from_numpy(LEVELS), np.dstack([LEVELS, np.full_like(LEVELS[..., 0], 255)]),
    ]  # fmt: skip
    for form in forms:
        [(one, other)] = pair_pictures(LEVELS, form)
        assert one.shape == (16, 20, 3)
        np.testing.assert_array_equal(one, other)


def test_a_picture_without_colours_has_three_equal_ones() -> None:
    grey = LEVELS[..., 0]
    for form in (grey, grey[..., None], Image.fromarray(grey)):
        [(one, _)] = pair_pictures(form, grey)
        np.testing.assert_array_equal(one[..., 0], grey.astype(np.float32) / 255)
        np.testing.assert_array_equal(one[..., 0], one[..., 2])


def test_levels_of_16_bits_keep_their_place_between_black_and_white() -> None:
    grey = LEVELS[..., 0].astype(np.uint16) * 257
    for form in (grey, Image.fromarray(grey)):
        [(one, other)] = pair_pictures(form, LEVELS[..., 0])
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_bytes_that_have_room_for_more_are_bytes() -> None:
    for kind in (np.uint16, np.int32, np.int64):
        [(one, other)] = pair_pictures(LEVELS.astype(kind), LEVELS)
        np.testing.assert_array_equal(one, other)
    dark = Image.fromarray(LEVELS[..., 0].astype(np.uint16))
    [(one, _)] = pair_pictures(dark, dark)
    assert one.max() <= 255 / 65535


def test_transparency_stands_on_white() -> None:
    clear = np.zeros((16, 16, 4), np.uint8)
    for form in (clear, Image.fromarray(clear, "RGBA"), torch.zeros(4, 16, 16)):
        [(one, _)] = pair_pictures(form, form)
        assert one.min() == 1


def test_films_are_as_many_pictures_as_frames() -> None:
    film = np.zeros((2, 3, 16, 16, 3), np.float32)
    assert len(pair_pictures(film, film)) == 6
    assert len(pair_pictures([LEVELS, LEVELS], [LEVELS, LEVELS])) == 2


def test_what_is_given_is_not_changed() -> None:
    given = np.full((16, 16, 3), 1.001, np.float32)
    [(one, _)] = pair_pictures(given, given)
    assert (given == np.float32(1.001)).all()
    assert (one == 1).all()


def test_levels_are_those_that_were_given() -> None:
    [(one, _)] = pair_pictures(LEVELS, LEVELS)
    np.testing.assert_array_equal(np.asarray(to_levels(one)), LEVELS)


@pytest.mark.parametrize(
    ("one", "other", "words"),
    [
        (LEVELS, LEVELS[:15], "20 × 16 and 20 × 15 pixels"),
        (LEVELS, [LEVELS, LEVELS], "1 and 2 pictures"),
        ([], [], "0 and 0 pictures"),
        (LEVELS[:10], LEVELS[:10], "11 at least"),
        (LEVELS, "apple.png", "str is no picture"),
        (LEVELS, LEVELS > 3, "an array of bool is no picture"),
        (LEVELS, LEVELS.astype(np.int64) * 300, "give bytes, or values in"),
        (
            LEVELS.astype(np.float32),
            LEVELS,
            r"should be \[0, 1\]; divide by 255",
        ),
        (LEVELS.astype(np.float64) / 127.5 - 1, LEVELS, "from -1 to 1, .*; add 1 and divide by 2"),
        (np.full((16, 20, 3), 1.2), LEVELS, "from 0 to 1.2, .*; clip them"),
        (Image.fromarray(LEVELS[..., 0].astype(np.int32)), LEVELS, "a picture of mode I does not"),
        (Image.fromarray(LEVELS[..., 0].astype(np.float32)), LEVELS, "a picture of mode F does"),
        (LEVELS, LEVELS[..., :2], r"an array \[16, 20, 2\] is no picture"),
        (LEVELS, np.full((16, 20, 3), np.nan), "NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_says_why(one: Any, other: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        pair_pictures(one, other)
