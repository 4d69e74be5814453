from __future__ import annotations

from itertools import pairwise

import pytest

from dpnb.strategies.offload.budget import choose_residents, compute_smallest_ring


def test_the_smallest_ring_holds_any_two_neighbours() -> None:
    assert compute_smallest_ring([]) == 0
    assert compute_smallest_ring([5]) == 5
    assert compute_smallest_ring([5, 1, 7, 2]) == 9


@pytest.mark.parametrize("room", [0, 3, 10, 29, 57, 100])
def test_as_many_blocks_stay_as_fit(room: int) -> None:
    sizes = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]
    stay = choose_residents(sizes, room)
    used = sum(sizes[place] for place in stay)
    assert used <= room
    left = [size for place, size in enumerate(sizes) if place not in stay]
    assert all(used + size > room for size in left)


def test_the_largest_blocks_stay() -> None:
    assert choose_residents([3, 9, 4, 9, 5, 2], 24) == [1, 3, 4]


def test_blocks_of_one_size_that_stay_are_not_side_by_side() -> None:
    stay = choose_residents([10] * 30, 100)
    assert len(stay) == 10
    assert max(b - a for a, b in pairwise(stay)) <= 4
    assert min(b - a for a, b in pairwise(stay)) >= 2
