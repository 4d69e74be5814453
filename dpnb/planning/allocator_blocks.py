"""Blocks of memory in segments of a card, and the pools of those that are free."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

SMALL_SEGMENT = 2 << 20
"""Bytes of a segment for small blocks, and of a page of one that grows."""

LARGE_SEGMENT = 20 << 20
"""Likewise for large ones."""

ADDRESS_BITS = 64
"""A free block is found by one number: its size, and in so many lower bits its address."""


class Block:
    """A piece of a segment.

    Attributes:
        address: of its first byte.
        size: in bytes.
        pool: in which it is when it is free.
        is_used: whether a tensor is in it.
        is_mapped: whether there is memory behind its addresses.
        before: the piece before it in its segment.
        after: the piece after it.
        freed: how often its pool had been asked when it was freed.
    """

    __slots__ = ("address", "after", "before", "freed", "is_mapped", "is_used", "pool", "size")

    def __init__(
        self,
        address: int,
        size: int,
        pool: Pool,
        before: Block | None = None,
        after: Block | None = None,
        *,
        is_mapped: bool = True,
    ) -> None:
        self.address, self.size, self.pool = address, size, pool
        self.before, self.after = before, after
        self.is_used, self.is_mapped, self.freed = False, is_mapped, 0

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its segment."""
        return self.before is None and self.after is None


class Pool:
    """The free blocks of one stream that are small, or that are large.

    Args:
        is_small: which of both.
    """

    def __init__(self, *, is_small: bool) -> None:
        self.is_small = is_small
        self.page = SMALL_SEGMENT if is_small else LARGE_SEGMENT
        self.asked = 0
        self.holes: list[tuple[int, Block]] = []
        self._keys: list[int] = []
        self._blocks: dict[int, Block] = {}

    def __iter__(self) -> Iterator[Block]:
        return iter([self._blocks[key] for key in self._keys])

    def add(self, block: Block) -> None:
        """Let a block be free here."""
        block.freed = self.asked
        key = block.size << ADDRESS_BITS | block.address
        insort(self._keys, key)
        self._blocks[key] = block

    def remove(self, block: Block) -> None:
        """Take a free block out."""
        key = block.size << ADDRESS_BITS | block.address
        del self._keys[bisect_left(self._keys, key)]
        del self._blocks[key]

    def find(self, size: int) -> Block | None:
        """The smallest free block of at least `size`; of several, that at the lowest address."""
        at = bisect_left(self._keys, size << ADDRESS_BITS)
        return self._blocks[self._keys[at]] if at < len(self._keys) else None

    def largest(self) -> Block | None:
        """The largest free block."""
        return self._blocks[self._keys[-1]] if self._keys else None


def absorb(block: Block, other: Block) -> None:
    """Let `block` be one with a neighbour that is in no pool."""
    if other is block.after:
        block.after = other.after
        if block.after is not None:
            block.after.before = block
    else:
        block.address, block.before = other.address, other.before
        if block.before is not None:
            block.before.after = block
    block.size += other.size


def find_start(hole: Block, size: int) -> Block | None:
    """Where room for `size` could begin at a hole, or at what is free before it."""
    start = hole.before if hole.before is not None and not hole.before.is_used else hole
    room = 0
    piece: Block | None = start
    while piece is not None and not piece.is_used and room < size:
        room += piece.size
        piece = piece.after
    return start if room >= size else None
