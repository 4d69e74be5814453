"""Words for how far two pictures differ."""

from __future__ import annotations

import pytest

from dpnb.fidelity.visibility import (
    LIMITS,
    Visibility,
    difference_size,
    parse_max_difference,
    words_for,
)


def test_each_word_holds_up_to_its_limit_and_no_further() -> None:
    following = list(Visibility)
    for word, most in LIMITS.items():
        assert words_for(most) is word
        assert words_for(most + 1e-6) is following[following.index(word) + 1]
    assert words_for(0) is Visibility.SAME
    assert words_for(1) is Visibility.ANOTHER


def test_one_place_that_stands_out_counts() -> None:
    assert difference_size(0.05, 0.1) == 0.05
    assert difference_size(0.01, 0.6) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (0, 0.0),
        (0.05, 0.05),
        ("0.05", 0.05),
        ("the same", 0.02),
        ("Not visible side by side", 0.07),
        ("another picture", 1.0),
    ],
)
def test_a_limit_is_a_number_or_a_word(given: float | str, number: float) -> None:
    assert parse_max_difference(given) == number


@pytest.mark.parametrize("given", ["much", "1.5", -0.1, 2, "nan", True])
def test_what_is_no_limit_is_refused_in_a_sentence(given: float | str) -> None:
    with pytest.raises((ValueError, TypeError), match=r"max_difference is .*; (give|it must be)"):
        parse_max_difference(given)
