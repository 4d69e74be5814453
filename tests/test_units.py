import math

import numpy as np
import pytest

from dpnb.units import format_bytes, format_seconds, parse_bytes, parse_size, round_down


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.50 KiB"),
        (6 * 1024**3, "6.00 GiB"),
        (-2048, "-2.00 KiB"),
        (100 * 1024**2, "100 MiB"),
        (1024**2 - 1, "1.00 MiB"),
    ],
)
def test_bytes_are_shown_in_the_largest_unit_that_fits(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("6GiB", 6 * 1024**3),
        ("500 MB", 500_000_000),
        ("1.5kib", 1536),
        ("12", 12),
        (7, 7),
        ("2G", 2_000_000_000),
        (2e9, 2_000_000_000),
        (np.float64(3e9), 3_000_000_000),
    ],
)
def test_sizes_are_read_with_their_units(text: float | str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    "text", ["", "six", "-1", "6GiBs", "1e3", f"{'9' * 400}GiB", 1.5, math.nan, math.inf, 1 << 80]
)
def test_what_is_no_size_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size; write a number of bytes"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2e-5, "20 µs"),
        (0.0051, "5.1 ms"),
        (0.34, "340 ms"),
        (0.9996, "1.0 s"),
        (2.14, "2.1 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (36000, "10 h 00 min"),
    ],
)
def test_durations_are_shown_as_a_person_would(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_pictures_have_one_side_or_two() -> None:
    assert parse_size(None) == (None, None)
    assert parse_size(64) == parse_size("64") == (64, 64)
    assert parse_size("64x32") == parse_size("64 × 32") == (64, 32)


@pytest.mark.parametrize("size", ["", "wide", "64x", "1x2x3", "-64", "64.5"])
def test_what_is_no_size_of_a_picture_is_refused(size: str) -> None:
    with pytest.raises(ValueError, match=r'is not a size; write for example "1024" or "768x512"'):
        parse_size(size)


@pytest.mark.parametrize("count", [0, 1 << 20, 2862 << 20, (1 << 30) - 1, 1 << 30, 3 * 10**12])
def test_what_is_rounded_down_is_a_size_that_is_no_larger(count: int) -> None:
    text = round_down(count)
    step = (1 << 30) / 10 if count >= 1 << 30 else 1 << 20
    assert count - step - 1 < parse_bytes(text) <= count


@pytest.mark.parametrize(
    ("count", "text"), [(2862 << 20, "2.7GiB"), (512 << 20, "512MiB"), (3 << 30, "3GiB")]
)
def test_sizes_are_short(count: int, text: str) -> None:
    assert round_down(count) == text
