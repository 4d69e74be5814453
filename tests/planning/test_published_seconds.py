"""Predicted seconds beside those that other people have measured on cards.

Printed by `DPNB_PUBLISHED=1 python -m pytest -s tests/planning/test_published_seconds.py`.
"""

from __future__ import annotations

from statistics import median

import pytest

from tests.planning.published_cases import ALL, list_cases
from tests.planning.published_points import Point
from tests.planning.published_runs import Prediction
from tests.source import ROOT

WHOLE = ("seconds per picture", "seconds per call")

SLOWER = {
    "-t4-": "a card of 70 W, which lowers its clock",
    "-v100-": "attention and convolutions of its time reach less",
    "dfast-sd15-bf16": "one small picture on a large card: the host takes longer to ask for it",
}
"""Which points took longer than predicted, and why that may be."""

UNKNOWN = ("GeForce GTX 1070 8 GB",)
"""Cards whose rates are not known here; their memory is like that of others."""

Row = tuple[Point, float]


def predicted(point: Point, found: Prediction) -> float:
    """Seconds of what was published: of a step, of a call of an autoencoder, of a whole run."""
    if point.values["unit"] == "it/s":
        return found.step
    return found.others + (point.values["steps"] or 0) * found.step


def format_table(rows: list[Row]) -> str:
    """Points by name, with card and dtype, published and predicted seconds."""
    lines = [f"{'seconds':42} {'card':10} {'dtype':9} published predicted  ratio"]
    lines += [
        f"{point.name:42} {point.values['card'][:10]:10} {point.values['dtype']:9}"
        f"{point.published:9.4f} {seconds:9.4f} {seconds / point.published:6.2f}"
        for point, seconds in rows
    ]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    cases = [*list_cases(WHOLE, "s"), *list_cases(["it/s"], "it/s")]
    chosen = [case for case in cases if case.is_quick or ALL]
    found = [
        (one.point, predicted(one.point, one.predict()))
        for one in chosen
        if one.point.values["card"] not in UNKNOWN
    ]
    print("\n" + format_table(found))
    return found


def test_the_median_error_is_below_an_eighth(rows: list[Row]) -> None:
    errors = [abs(seconds / point.published - 1) for point, seconds in rows]
    assert len(errors) >= 14
    assert median(errors) <= 0.125


def test_no_other_is_wrong_by_more_than_three_tenths(rows: list[Row]) -> None:
    for point, seconds in rows:
        is_slower = next((words for name, words in SLOWER.items() if name in point.name), "")
        assert is_slower or abs(seconds / point.published - 1) < 0.3, point.name
        assert not is_slower or seconds < point.published, point.name


@pytest.mark.skipif(not ALL, reason="README tells of all points: DPNB_PUBLISHED=1")
def test_readme_tells_what_is_found(rows: list[Row]) -> None:
    errors = [abs(seconds / point.published - 1) for point, seconds in rows]
    told = " ".join((ROOT / "README.md").read_text().split())
    assert (
        f"Of {len(rows)} published times the median error is {100 * median(errors):.0f} %" in told
    )
