"""Which cases of tests that have very many are run."""

from __future__ import annotations

from typing import Any

import pytest

from tests.slow import ENOUGH, spread_cases


class Case:
    """As much of a collected test as is looked at.

    Args:
        nodeid: its name.
        marks: those that it has.
    """

    def __init__(self, nodeid: str, *marks: pytest.Mark) -> None:
        self.nodeid = nodeid
        self._marks = {mark.name: mark for mark in marks}

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        return self._marks.get(name)


def cases(test: str, count: int, *marks: pytest.Mark) -> list[Any]:
    return [Case(f"tests/test_it.py::{test}[{place}]", *marks) for place in range(count)]


EXHAUSTIVE = pytest.mark.exhaustive.mark


def test_about_a_third_of_very_many_cases_run_and_always_the_same_ones() -> None:
    items = cases("test_law", 400, EXHAUSTIVE)
    first, left_out = list(items), spread_cases(items)
    assert [*sorted(map(id, items + left_out))] == sorted(map(id, first))
    assert items[:ENOUGH] == first[:ENOUGH]
    assert 220 < len(left_out) < 310
    again = cases("test_law", 400, EXHAUSTIVE)
    assert [one.nodeid for one in spread_cases(again)] == [one.nodeid for one in left_out]


def test_few_cases_others_and_those_for_a_gpu_all_run() -> None:
    few = cases("test_few", ENOUGH, EXHAUSTIVE)
    other = cases("test_other", 100)
    on_gpu = cases("test_gpu", 100, EXHAUSTIVE, pytest.mark.gpu.mark)
    fast = cases("test_fast", 100, pytest.mark.exhaustive(fast=100).mark)
    items = [*few, *other, *on_gpu, *fast]
    assert spread_cases(items) == []
    assert len(items) == ENOUGH + 300
