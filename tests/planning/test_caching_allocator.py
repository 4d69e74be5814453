"""The model of torch's caching allocator: each documented rule by hand, and laws for all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpnb.planning.allocator_blocks import Block
from dpnb.planning.allocator_settings import AllocatorSettings
from dpnb.planning.caching_allocator import CachingAllocator, CardFull

KIB, MIB = 1 << 10, 1 << 20


def fill(allocator: CachingAllocator, *sizes: int, stream: int = 0) -> list[Block]:
    """Blocks for tensors of these sizes, in order."""
    blocks = [allocator.allocate(size, stream) for size in sizes]
    return [block for block in blocks if block is not None]


def parsed(text: str, limit: int | None = None) -> CachingAllocator:
    return CachingAllocator(AllocatorSettings.parse(text), limit)


@pytest.mark.parametrize(
    ("nbytes", "allocated", "reserved"),
    [
        (0, 0, 0),
        (1, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (12 * MIB + 512 * KIB, 12 * MIB + 512 * KIB, 14 * MIB),
        (13 * MIB, 14 * MIB, 14 * MIB),
        (13 * MIB + 512 * KIB, 14 * MIB, 14 * MIB),
    ],
)
def test_a_tensor_is_rounded_and_takes_a_segment_of_its_kind(
    nbytes: int, allocated: int, reserved: int
) -> None:
    """Of 14 MiB, 1.5 MiB that are left are split off; 1 MiB or less is given along."""
    allocator = CachingAllocator()
    allocator.allocate(nbytes)
    assert (allocator.allocated, allocator.reserved) == (allocated, reserved)


def test_small_and_large_tensors_share_no_segment() -> None:
    allocator = CachingAllocator()
    fill(allocator, 512, 3 * MIB, 512, 3 * MIB)
    assert allocator.reserved == (2 + 20) * MIB


def test_small_blocks_are_split_to_the_last_512_bytes() -> None:
    allocator = CachingAllocator()
    fill(allocator, MIB, MIB - 512)
    assert allocator.allocated == 2 * MIB - 512
    fill(allocator, 512)
    assert allocator.reserved == 2 * MIB
    fill(allocator, 512)
    assert allocator.reserved == 4 * MIB


def test_the_smallest_block_that_is_large_enough_is_taken() -> None:
    allocator = CachingAllocator()
    large, _, small, _ = fill(allocator, 6 * MIB, 2 * MIB, 4 * MIB, 8 * MIB)
    allocator.free(large)
    allocator.free(small)
    (taken,) = fill(allocator, 4 * MIB)
    assert taken.address == small.address
    assert allocator.reserved == 20 * MIB


def test_neighbours_that_are_free_are_one_block() -> None:
    allocator = CachingAllocator()
    first, second, third, _ = fill(allocator, 5 * MIB, 5 * MIB, 5 * MIB, 5 * MIB)
    for block in (first, third, second):
        allocator.free(block)
    fill(allocator, 15 * MIB)
    assert allocator.reserved == 20 * MIB


def test_what_is_free_in_pieces_does_not_serve_a_larger_tensor() -> None:
    allocator = CachingAllocator()
    blocks = fill(allocator, 5 * MIB, 5 * MIB, 5 * MIB, 5 * MIB)
    allocator.free(blocks[0])
    allocator.free(blocks[2])
    fill(allocator, 9 * MIB)
    assert allocator.reserved == 40 * MIB


def test_every_stream_has_pools_of_its_own() -> None:
    allocator = CachingAllocator()
    (block,) = fill(allocator, 30 * MIB)
    allocator.free(block)
    fill(allocator, 30 * MIB, stream=1)
    assert allocator.reserved == 60 * MIB
    fill(allocator, 30 * MIB)
    assert allocator.reserved == 60 * MIB


def test_unused_segments_go_back_when_the_cache_is_emptied() -> None:
    allocator = CachingAllocator()
    whole, part, _ = fill(allocator, 30 * MIB, 5 * MIB, 5 * MIB)
    allocator.free(whole)
    allocator.free(part)
    allocator.empty_cache()
    assert (allocator.allocated, allocator.reserved) == (5 * MIB, 20 * MIB)
    assert allocator.peak_reserved == 50 * MIB


def test_at_the_limit_what_is_unused_goes_back_before_the_card_is_full() -> None:
    allocator = CachingAllocator(limit=100 * MIB)
    (first,) = fill(allocator, 60 * MIB)
    allocator.free(first)
    fill(allocator, 70 * MIB)
    assert allocator.reserved == 70 * MIB
    with pytest.raises(CardFull):
        allocator.allocate(40 * MIB)
    assert (allocator.allocated, allocator.reserved) == (70 * MIB, 70 * MIB)


def test_a_fraction_of_the_card_is_a_limit() -> None:
    allocator = parsed("per_process_memory_fraction:0.5", 100 * MIB)
    fill(allocator, 40 * MIB)
    with pytest.raises(CardFull):
        allocator.allocate(20 * MIB)


def test_oversized_blocks_are_not_split() -> None:
    """With a limit of 50 MiB, 60 MiB serve neither 10 nor, once freed, 30 MiB; but do serve 55."""
    allocator = parsed("max_split_size_mb:50")
    (large,) = fill(allocator, 60 * MIB)
    allocator.free(large)
    fill(allocator, 30 * MIB)
    assert allocator.reserved == 90 * MIB
    (block,) = fill(allocator, 55 * MIB)
    assert (block.size, allocator.reserved) == (60 * MIB, 90 * MIB)


def test_an_oversized_block_serves_only_what_is_nearly_as_large() -> None:
    allocator = parsed("max_split_size_mb:50")
    (large,) = fill(allocator, 100 * MIB)
    allocator.free(large)
    fill(allocator, 80 * MIB)
    assert allocator.reserved == 180 * MIB
    fill(allocator, 82 * MIB)
    assert allocator.reserved == 180 * MIB


def test_at_the_limit_oversized_blocks_go_back_before_all_others() -> None:
    allocator = parsed("max_split_size_mb:50", 200 * MIB)
    small, large = fill(allocator, 40 * MIB, 140 * MIB)
    allocator.free(small)
    allocator.free(large)
    fill(allocator, 90 * MIB)
    assert allocator.reserved == (40 + 90) * MIB


@pytest.mark.parametrize(
    ("text", "nbytes", "allocated"),
    [
        ("roundup_power2_divisions:4", 1200, 1536),
        ("roundup_power2_divisions:4", 5000, 5120),
        ("roundup_power2_divisions:4", 33 * MIB, 40 * MIB),
        ("roundup_power2_divisions:4", 32 * MIB, 32 * MIB),
        ("roundup_power2_divisions:[64:8,>:2]", 33 * MIB, 36 * MIB),
        ("roundup_power2_divisions:[64:8,>:2]", 130 * MIB, 192 * MIB),
        ("roundup_power2_divisions:1", 5000, 5120),
    ],
)
def test_sizes_are_rounded_to_divisions_of_a_power_of_two(
    text: str, nbytes: int, allocated: int
) -> None:
    allocator = parsed(text)
    allocator.allocate(nbytes)
    assert allocator.allocated == allocated


def test_garbage_is_collected_above_the_threshold_the_oldest_first() -> None:
    allocator = parsed("garbage_collection_threshold:0.4,per_process_memory_fraction:1", 400 * MIB)
    small, old, young = fill(allocator, 512, 60 * MIB, 50 * MIB)
    allocator.free(small)
    allocator.free(old)
    fill(allocator, 62 * MIB)
    allocator.free(young)
    assert allocator.reserved == (2 + 60 + 50 + 62) * MIB
    fill(allocator, 66 * MIB)
    assert allocator.reserved == (2 + 50 + 62 + 66) * MIB, "14 MiB too much, of which 60 are old"


def test_without_a_fraction_no_garbage_is_collected() -> None:
    allocator = parsed("garbage_collection_threshold:0.5", 200 * MIB)
    for block in fill(allocator, 60 * MIB, 50 * MIB):
        allocator.free(block)
    fill(allocator, 70 * MIB)
    assert allocator.reserved == 180 * MIB


def test_expandable_segments_grow_by_pages() -> None:
    allocator = parsed("expandable_segments:True")
    fill(allocator, 25 * MIB)
    assert allocator.reserved == 40 * MIB
    fill(allocator, 15 * MIB)
    assert (allocator.allocated, allocator.reserved) == (40 * MIB, 40 * MIB)
    fill(allocator, 512, MIB)
    assert allocator.reserved == 42 * MIB


def test_expandable_segments_continue_what_is_free_at_their_end() -> None:
    allocator = parsed("expandable_segments:True")
    _, end = fill(allocator, 20 * MIB, 20 * MIB)
    allocator.free(end)
    fill(allocator, 60 * MIB)
    assert allocator.reserved == 80 * MIB


def test_whole_pages_of_expandable_segments_go_back() -> None:
    allocator = parsed("expandable_segments:True")
    first, middle, _ = fill(allocator, 30 * MIB, 60 * MIB, 10 * MIB)
    allocator.free(middle)
    allocator.empty_cache()
    assert allocator.reserved == 60 * MIB, "pages 3 and 4 of 5"
    fill(allocator, 60 * MIB)
    assert allocator.reserved == 100 * MIB, "where it was: in the hole and what is beside it"
    allocator.free(first)
    allocator.empty_cache()
    assert allocator.reserved == 80 * MIB


def test_the_end_of_the_card_ends_an_expandable_segment() -> None:
    allocator = parsed("expandable_segments:True", 100 * MIB)
    blocks = fill(allocator, 40 * MIB, 20 * MIB, 40 * MIB)
    with pytest.raises(CardFull):
        allocator.allocate(5 * MIB)
    allocator.free(blocks[0])
    allocator.free(blocks[2])
    with pytest.raises(CardFull):
        allocator.allocate(100 * MIB)
    fill(allocator, 80 * MIB)
    assert allocator.reserved == 100 * MIB


def test_a_tight_one_gives_back_before_it_takes() -> None:
    allocator = CachingAllocator(is_tight=True)
    (first,) = fill(allocator, 60 * MIB)
    allocator.free(first)
    fill(allocator, 70 * MIB)
    assert allocator.peak_reserved == 70 * MIB


@dataclass(frozen=True)
class Move:
    """An allocation, or the end of one that is there."""

    nbytes: int
    ends: int | None
    stream: int


SIZES = st.sampled_from([1, 512, 700, 3000, 400_000, MIB, MIB + 1, 3 * MIB, 9 * MIB, 10 * MIB])
SEQUENCES = st.lists(
    st.builds(
        Move,
        nbytes=SIZES | st.integers(1, 80 * MIB),
        ends=st.none() | st.integers(0, 1 << 20),
        stream=st.sampled_from([0, 0, 0, 1]),
    ),
    max_size=60,
)
SETTINGS = st.sampled_from(
    ["", "expandable_segments:True", "max_split_size_mb:32", "roundup_power2_divisions:4"]
)


def play(allocator: CachingAllocator, moves: list[Move]) -> list[Block]:
    """The blocks that are there at the end."""
    live: list[Block] = []
    for move in moves:
        if live and move.ends is not None:
            allocator.free(live.pop(move.ends % len(live)))
        else:
            live += fill(allocator, move.nbytes, stream=move.stream)
        check(allocator, live)
    return live


def check(allocator: CachingAllocator, live: list[Block]) -> None:
    """All that must hold at any time."""
    assert allocator.allocated == sum(block.size for block in live)
    assert 0 <= allocator.allocated <= allocator.reserved <= allocator.peak_reserved
    assert allocator.allocated <= allocator.peak_allocated <= allocator.peak_reserved
    spans = sorted((block.address, block.address + block.size) for block in live)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


@given(moves=SEQUENCES, text=SETTINGS)
@settings(max_examples=120, deadline=None)
def test_no_two_tensors_share_bytes_and_nothing_is_lost(moves: list[Move], text: str) -> None:
    allocator = parsed(text)
    for block in play(allocator, moves):
        allocator.free(block)
    assert allocator.allocated == 0
    allocator.empty_cache()
    assert allocator.reserved == 0


@given(moves=SEQUENCES, text=SETTINGS, nbytes=st.integers(1, 80 * MIB))
@settings(max_examples=60, deadline=None)
def test_the_same_again_reserves_nothing_new(moves: list[Move], text: str, nbytes: int) -> None:
    allocator = parsed(text)
    play(allocator, moves)
    (block,) = fill(allocator, nbytes)
    reserved = allocator.reserved
    allocator.free(block)
    fill(allocator, nbytes)
    assert allocator.reserved == reserved


@given(
    nbytes=SIZES | st.integers(1, 80 * MIB), count=st.integers(1, 20), ends=st.lists(st.integers(0))
)
@settings(max_examples=60, deadline=None)
def test_of_tensors_of_one_size_a_growing_segment_reserves_no_more_than_a_page_more(
    nbytes: int, count: int, ends: list[int]
) -> None:
    moves = [Move(nbytes, None, 0)] * count + [Move(nbytes, end, 0) for end in ends]
    classic, growing = parsed(""), parsed("expandable_segments:True")
    play(classic, moves)
    play(growing, moves)
    assert growing.peak_reserved <= classic.peak_reserved + 20 * MIB


@given(moves=SEQUENCES)
@settings(max_examples=60, deadline=None)
def test_what_was_reserved_suffices_as_a_limit_and_a_tight_one_needs_no_more(
    moves: list[Move],
) -> None:
    free = CachingAllocator()
    play(free, moves)
    limited = CachingAllocator(limit=free.peak_reserved)
    play(limited, moves)
    assert limited.peak_reserved == free.peak_reserved
    tight = CachingAllocator(is_tight=True)
    play(tight, moves)
    assert tight.peak_allocated <= tight.peak_reserved
