"""Memory that comes from the system and goes back to it."""

from __future__ import annotations

import mmap


def occupy(size: int) -> mmap.mmap:
    """Bytes that are really there, and that no allocator keeps once they are freed."""
    memory = mmap.mmap(-1, size)
    for offset in range(0, size, mmap.PAGESIZE):
        memory[offset] = 1
    return memory
