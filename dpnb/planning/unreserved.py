"""Tensors larger than the memory of the machine: addresses alone, for plans of larger devices.

Where all memory is promised to somebody, Linux refuses a block larger than what there is. One that
is asked for without a reservation (mmap(2), MAP_NORESERVE) is only addresses until it is touched.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Sequence

import torch
from torch import Tensor

LARGE = 1 << 30
"""Bytes from which on nothing is reserved."""

IS_POSSIBLE = sys.platform == "linux"


def empty_strided(shape: Sequence[int], stride: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor whose memory nobody may touch.

    Args:
        shape: its sizes.
        stride: elements from one entry to the next, in each of them.
        dtype: of its elements.

    Raises:
        OSError: there are not so many addresses.
    """
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    size = 0 if 0 in shape else (last + 1) * dtype.itemsize
    if size < LARGE or not IS_POSSIBLE:
        return torch.empty_strided(tuple(shape), tuple(stride), dtype=dtype)
    unreserved: int = getattr(mmap, "MAP_NORESERVE", 0x4000)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | unreserved)
    return torch.frombuffer(memory, dtype=dtype).as_strided(tuple(shape), tuple(stride))
