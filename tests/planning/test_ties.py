"""What is as fast as something else, and what none beats."""

from __future__ import annotations

import itertools
import random

import pytest

from dpnb.planning.ties import TIE, find_front, group_ties

Row = tuple[int, float]


def cost(row: Row) -> Row:
    return row


def random_rows(seed: int) -> list[Row]:
    numbers = random.Random(seed)
    return [(numbers.randrange(50), 10 + numbers.randrange(100) / 100) for _ in range(30)]


def test_of_equally_fast_ones_the_smallest_is_first() -> None:
    rows = [(12, 100.0), (9, 100.9), (5, 101.1), (3, 150.0)]
    assert group_ties(rows, cost) == [[(9, 100.9), (12, 100.0)], [(5, 101.1)], [(3, 150.0)]]
    assert find_front(rows, cost) == [(3, 150.0), (5, 101.1), (9, 100.9)]


def test_of_equal_ones_the_first_stays_first() -> None:
    rows = [((1, 1.0), "few"), ((1, 1.0), "many")]
    assert find_front(rows, lambda row: row[0]) == rows[:1]


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_all_rows_and_no_group_is_wider_than_a_tie(seed: int) -> None:
    rows = random_rows(seed)
    groups = group_ties(rows, cost)
    assert sorted(itertools.chain.from_iterable(groups)) == sorted(rows)
    for group in groups:
        seconds = [row[1] for row in group]
        assert max(seconds) <= (1 + TIE) * min(seconds)
        assert group == sorted(group)


@pytest.mark.parametrize("seed", range(20))
def test_none_beats_the_front_by_more_than_a_tie_and_it_beats_all_others(seed: int) -> None:
    rows = random_rows(seed)
    front = find_front(rows, cost)
    assert front[0][0] == min(row[0] for row in rows)
    assert group_ties(rows, cost)[0][0] in front
    for one, other in itertools.pairwise(front):
        assert one[0] < other[0]
        assert one[1] > other[1]
    for memory, seconds in rows:
        assert any(m <= memory and s <= (1 + TIE) * seconds for m, s in front)


def test_nothing_has_no_front() -> None:
    assert find_front([], cost) == []
