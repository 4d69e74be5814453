from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dpnb.strategies.offload.device_copy import DeviceCopy
from dpnb.strategies.offload.link import Mark
from dpnb.strategies.offload.packing import ALIGNMENT, PackedWeights
from dpnb.strategies.offload.ring import Ring


class Point(Mark):
    """A mark that is told apart from others."""

    def wait(self) -> None:
        """It is passed."""


BEGINNING = Point()


def weights(name: str, blocks: int) -> PackedWeights:
    return PackedWeights(name, [[torch.zeros(blocks * ALIGNMENT, dtype=torch.uint8)]])


@pytest.fixture
def ring() -> Ring:
    """Room for four of the smallest."""
    return Ring(torch.empty(4 * ALIGNMENT, dtype=torch.uint8), BEGINNING)


def reserve(ring: Ring, sizes: list[int]) -> Iterator[DeviceCopy]:
    for index, size in enumerate(sizes):
        room = ring.reserve(weights(str(index), size), now=False)
        assert room is not None
        copy, overwritten = room
        assert overwritten == []
        copy.is_prefetched = True
        yield copy


def test_copies_follow_one_another(ring: Ring) -> None:
    copies = list(reserve(ring, [1, 2, 1]))
    assert [copy.start // ALIGNMENT for copy in copies] == [0, 1, 3]
    assert all(copy.after is BEGINNING for copy in copies)


def test_a_copy_overwrites_the_first_ones_after_their_last_use(ring: Ring) -> None:
    one, other, _ = reserve(ring, [1, 1, 2])
    marks = [Point(), Point()]
    for number, copy in enumerate((one, other)):
        copy.is_prefetched, copy.last_use = False, (number, marks[number])
    room = ring.reserve(weights("new", 2), now=False)
    assert room is not None
    copy, overwritten = room
    assert (copy.start, overwritten) == (0, [one, other])
    assert copy.after is marks[1]


def test_a_prefetched_copy_is_overwritten_only_by_what_is_needed_at_once(ring: Ring) -> None:
    first, *_ = reserve(ring, [2, 2])
    assert ring.reserve(weights("new", 1), now=False) is None
    room = ring.reserve(weights("new", 1), now=True)
    assert room is not None
    assert room[1] == [first]


def test_a_copy_in_use_is_never_overwritten(ring: Ring) -> None:
    one, other = reserve(ring, [2, 2])
    one.use_count = other.use_count = 1
    assert ring.reserve(weights("new", 1), now=True) is None
    other.use_count = 0
    room = ring.reserve(weights("new", 1), now=True)
    assert room is not None
    assert room[1] == [other]


def test_what_is_released_is_not_waited_for(ring: Ring) -> None:
    list(reserve(ring, [2, 2]))
    ring.release_prefetched()
    assert ring.reserve(weights("new", 4), now=False) is not None


def test_what_is_larger_than_the_ring_finds_no_room(ring: Ring) -> None:
    assert ring.reserve(weights("new", 5), now=True) is None


def test_views_are_made_once_for_a_place(ring: Ring) -> None:
    (copy,) = reserve(ring, [1])
    assert ring.views_of(copy) is ring.views_of(copy)
    assert ring.views_of(copy)[0].data_ptr() == copy.target.data_ptr()
