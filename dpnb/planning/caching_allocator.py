"""A model of torch's CUDA caching allocator: what a sequence of tensors takes from a card.

The rules are those that torch documents (notes on CUDA semantics, "Memory management" and
"Optimizing memory usage") and that `torch.cuda.memory_snapshot` shows: sizes are rounded up,
segments come from the driver in few sizes, free blocks are reused by best fit, split, and merged
with their neighbours when they are free again. Nothing is allocated here.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from dpnb.planning.allocator_blocks import (
    LARGE_SEGMENT,
    SMALL_SEGMENT,
    Block,
    Pool,
    absorb,
    find_start,
)
from dpnb.planning.allocator_settings import AllocatorSettings

SMALLEST = 512
"""Every block is a multiple of so many bytes."""

SMALL = 1 << 20
"""Blocks up to this size come from segments of their own kind."""

OWN_SEGMENT = 10 << 20
"""From here on a block that finds no room gets a segment of its own size."""

SEGMENT_STEP = 2 << 20
"""Such a segment is a multiple of this."""

ENDLESS = 1 << 48
"""Addresses that an expandable segment keeps for itself; more than any card has."""


class CardFull(Exception):  # noqa: N818
    """The card has no room left, although all that is unused was given back."""


class CachingAllocator:
    """Says what allocations and frees take from a card.

    Args:
        settings: of the allocator.
        limit: bytes of the card that it can have; `None` for whatever it asks for.
        is_tight: whether it gives back all that is unused whenever it takes a new segment, as it
            has to on a card that is just large enough.

    Attributes:
        allocated: bytes of blocks in use.
        reserved: bytes taken from the card.
        peak_allocated: the most that `allocated` has been.
        peak_reserved: the most that `reserved` has been.
    """

    def __init__(
        self,
        settings: AllocatorSettings | None = None,
        limit: int | None = None,
        *,
        is_tight: bool = False,
    ) -> None:
        self.settings = settings or AllocatorSettings()
        fraction = self.settings.memory_fraction
        self._limit = limit if limit is None or fraction is None else int(fraction * limit)
        self._is_tight = is_tight
        self.allocated = self.reserved = self.peak_allocated = self.peak_reserved = 0
        self._pools: dict[tuple[bool, int], Pool] = {}
        self._next_address = LARGE_SEGMENT
        split = self.settings.max_split_size
        self._max_split = ENDLESS if split is None else split

    def allocate(self, nbytes: int, stream: int = 0) -> Block | None:
        """Room for a tensor; `None` where it has no bytes.

        Args:
            nbytes: of it.
            stream: on which it is made; one never takes what is free on another.

        Raises:
            CardFull: the card has not so much left.
        """
        if nbytes <= 0:
            return None
        size = self._round(nbytes)
        pool = self._pools.get((size <= SMALL, stream))
        if pool is None:
            pool = self._pools[size <= SMALL, stream] = Pool(is_small=size <= SMALL)
        block = self._take_free(pool, size) or self._take_new(pool, size)
        rest = block.size - size
        if rest and self._splits(block, size, rest):
            self._split(block, size)
        block.is_used = True
        self.allocated += block.size
        if self.allocated > self.peak_allocated:
            self.peak_allocated = self.allocated
        return block

    def free(self, block: Block | None) -> None:
        """A tensor is gone; what is free beside it becomes one block with it."""
        if block is None:
            return
        self.allocated -= block.size
        block.is_used = False
        self._join_neighbours(block)
        block.pool.add(block)

    def empty_cache(self) -> None:
        """Give all unused segments, or pages of them, back to the card."""
        for pool in self._pools.values():
            self._release(pool)

    def reset_peaks(self) -> None:
        """Forget the highest counts so far."""
        self.peak_allocated, self.peak_reserved = self.allocated, self.reserved

    def _round(self, nbytes: int) -> int:
        if not self.settings.power_divisions:
            return -(-nbytes // SMALLEST) * SMALLEST
        divisions = self.settings.divisions_of(nbytes)
        if divisions > 1 and nbytes > SMALLEST * divisions:
            step = (1 << (nbytes.bit_length() - 1)) // divisions
            return -(-nbytes // step) * step
        return -(-nbytes // SMALLEST) * SMALLEST

    def _take_free(self, pool: Pool, size: int) -> Block | None:
        pool.asked += 1
        block = pool.find(size)
        if block is None:
            return None
        # A block that may not be split is no room for what is much smaller.
        is_oversized = block.size >= self._max_split
        if is_oversized and (size < self._max_split or block.size >= size + LARGE_SEGMENT):
            return None
        pool.remove(block)
        return block

    def _splits(self, block: Block, size: int, rest: int) -> bool:
        if block.pool.is_small or self.settings.expandable_segments:
            return rest >= SMALLEST
        return size < self._max_split and rest > SMALL

    def _split(self, block: Block, size: int) -> None:
        """Shorten `block`; what is left of it is free."""
        rest = Block(block.address + size, block.size - size, block.pool, block, block.after)
        if rest.after is not None:
            rest.after.before = rest
        block.size, block.after = size, rest
        block.pool.add(rest)

    def _join_neighbours(self, block: Block) -> None:
        """Let `block`, in no pool, be one with the free neighbours that are as it is."""
        if (before := block.before) is not None and not before.is_used:
            self._join(block, before)
        if (after := block.after) is not None and not after.is_used:
            self._join(block, after)

    def _join(self, block: Block, other: Block) -> None:
        if other.is_mapped is not block.is_mapped:
            return
        if other.is_mapped:
            other.pool.remove(other)
        else:
            other.pool.holes.remove((other.address, other))
        absorb(block, other)

    # --- new memory from the card ---

    def _take_new(self, pool: Pool, size: int) -> Block:
        if self.settings.garbage_threshold and self.settings.memory_fraction is not None:
            self._collect_garbage()
        if self._is_tight:
            self.empty_cache()
        wanted = _segment_size(size)
        block = self._ask_card(pool, wanted)
        if block is None and self._release_oversized(pool, size):
            block = self._ask_card(pool, wanted)
        if block is None:
            self.empty_cache()
            block = self._ask_card(pool, wanted)
        if block is None:
            raise CardFull
        return block

    def _ask_card(self, pool: Pool, size: int) -> Block | None:
        if self.settings.expandable_segments:
            return self._expand(pool, size)
        if not self._has_room(size):
            return None
        block = Block(self._next_address, size, pool)
        self._next_address += size
        self._reserve(size)
        return block

    def _has_room(self, size: int) -> bool:
        return self._limit is None or self.reserved + size <= self._limit

    def _reserve(self, size: int) -> None:
        self.reserved += size
        self.peak_reserved = max(self.peak_reserved, self.reserved)

    # --- segments that grow ---

    def _expand(self, pool: Pool, size: int) -> Block | None:
        """A free block of at least `size`, with pages mapped behind what is free already."""
        if not pool.holes:
            start = -(-self._next_address // pool.page) * pool.page
            self._next_address = start + ENDLESS
            self._add_hole(Block(start, ENDLESS, pool, is_mapped=False))
        block = next(filter(None, (find_start(hole, size) for _, hole in pool.holes)))
        if not self._take_out(block, size):
            return None
        while block.size < size and (following := block.after) is not None:
            if not self._take_out(following, size - block.size):
                pool.add(block)
                return None
            absorb(block, following)
        return block

    def _take_out(self, block: Block, size: int) -> bool:
        """Take a free block, or a hole of which `size` bytes are mapped; whether the card can."""
        if block.is_mapped:
            block.pool.remove(block)
            return True
        return self._map(block, size)

    def _map(self, hole: Block, size: int) -> bool:
        """Put pages behind the first `size` bytes of a hole."""
        pool = hole.pool
        nbytes = -(-min(size, hole.size) // pool.page) * pool.page
        if not self._has_room(nbytes):
            return False
        pool.holes.remove((hole.address, hole))
        if nbytes < hole.size:
            rest = Block(
                hole.address + nbytes, hole.size - nbytes, pool, hole, hole.after, is_mapped=False
            )
            if rest.after is not None:
                rest.after.before = rest
            hole.size, hole.after = nbytes, rest
            self._add_hole(rest)
        hole.is_mapped = True
        self._reserve(nbytes)
        return True

    def _add_hole(self, hole: Block) -> None:
        insort(hole.pool.holes, (hole.address, hole))

    def _unmap(self, block: Block) -> None:
        """Give the whole pages of a free block back; what is beside them stays."""
        pool = block.pool
        start = -(-block.address // pool.page) * pool.page
        end = (block.address + block.size) // pool.page * pool.page
        if end <= start:
            return
        pool.remove(block)
        if block.address + block.size > end:
            self._split(block, end - block.address)
        if start > block.address:
            hole = Block(start, end - start, pool, block, block.after)
            if hole.after is not None:
                hole.after.before = hole
            block.size, block.after = start - block.address, hole
            pool.add(block)
            block = hole
        block.is_mapped = False
        self.reserved -= end - start
        self._join_neighbours(block)
        self._add_hole(block)

    # --- memory that goes back to the card ---

    def _release(self, pool: Pool) -> None:
        for block in pool:
            if self.settings.expandable_segments:
                self._unmap(block)
            elif block.is_whole:
                self._give_back(block)

    def _give_back(self, block: Block) -> int:
        block.pool.remove(block)
        self.reserved -= block.size
        return block.size

    def _release_oversized(self, pool: Pool, size: int) -> bool:
        """Give back unused segments that are never split, until `size` is free; whether it is."""
        if self.settings.max_split_size is None or self.settings.expandable_segments:
            return False
        found = pool.find(max(size, self._max_split))
        if found is not None:
            self._give_back(found)
            return True
        freed = 0
        while freed < size and (block := pool.largest()) and block.size >= self._max_split:
            freed += self._give_back(block)
        return freed >= size

    def _collect_garbage(self) -> None:
        """Give back large unused segments, those of more than the mean age first."""
        if self._limit is None:
            return
        wanted = self.reserved - int(self.settings.garbage_threshold * self._limit)
        while wanted > 0:
            unused = list(self._list_unused_large())
            if not unused:
                return
            mean = sum(block.pool.asked - block.freed for block in unused) / len(unused)
            for block in unused:
                if block.pool.asked - block.freed >= mean:
                    wanted -= self._give_back(block)

    def _list_unused_large(self) -> Iterable[Block]:
        if self.settings.expandable_segments:
            return
        for (is_small, _), pool in self._pools.items():
            if not is_small:
                yield from (block for block in pool if block.is_whole)


def _segment_size(size: int) -> int:
    """What the card is asked for when a block of `size` finds no room."""
    if size <= SMALL:
        return SMALL_SEGMENT
    if size < OWN_SEGMENT:
        return LARGE_SEGMENT
    return -(-size // SEGMENT_STEP) * SEGMENT_STEP
