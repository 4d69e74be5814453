"""Where the strips of a feature map wait until the next layer takes them."""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any, Protocol
from weakref import finalize

import numpy as np
import torch
from torch import Tensor

from dpnb.metering.counting import no_counting

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

BLOCK = 4 << 20
"""Bytes of a temporary file, and the least that is pinned at once: room for many small strips."""

LEFT_OVER = 1 / 8
"""Of what is pinned at once, no larger part is left over by strips of one size."""

ALIGNMENT = 64


class Kept(Protocol):
    """A strip that waits."""

    @property
    def height(self) -> int:
        """Its rows."""
        ...

    def rows(self, start: int, stop: int) -> Tensor:
        """Some of its rows, `[batch, channels, stop - start, width]`, on the device."""
        ...


class Store(Protocol):
    """Keeps strips `[batch, channels, rows, width]`."""

    def keep(self, strip: Tensor) -> Kept:
        """Let a strip wait until nobody holds what is returned."""
        ...


@dataclass(frozen=True, eq=False)
class Held:
    """A strip that waits where it was made."""

    strip: Tensor

    @property
    def height(self) -> int:
        """Its rows."""
        return self.strip.shape[2]

    def rows(self, start: int, stop: int) -> Tensor:
        """Some of its rows: a view."""
        return self.strip[:, :, start:stop]


class DeviceStore:
    """Strips wait on the device that computes."""

    def keep(self, strip: Tensor) -> Held:
        """Let a strip wait."""
        return Held(strip)


@dataclass(frozen=True, eq=False)
class Spilled:
    """A strip that waits elsewhere, row by row: `[rows, batch, channels, width]`."""

    strip: Tensor
    device: torch.device

    @property
    def height(self) -> int:
        """Its rows."""
        return self.strip.shape[0]

    def rows(self, start: int, stop: int) -> Tensor:
        """Some of its rows, copied to the device."""
        waiting = self.strip[start:stop]
        here = torch.empty(waiting.shape, dtype=waiting.dtype, device=self.device)
        return here.copy_(waiting, non_blocking=True).permute(1, 2, 0, 3)


class HostStore:
    """Strips wait outside the device: in pinned memory of the host, or else in temporary files.

    Attributes:
        current: bytes that wait.
        peak: the most that have waited at a time.
    """

    def __init__(self) -> None:
        self.current = 0
        self.peak = 0
        self._of_file = np.empty(0, np.uint8)
        self._of_pinned = torch.empty(0, dtype=torch.uint8)

    def keep(self, strip: Tensor) -> Spilled:
        """Let a strip wait."""
        by_rows = strip.permute(2, 0, 1, 3).contiguous()
        with no_counting():
            room = self._pinned(by_rows) if strip.is_cuda else self._mapped(by_rows)
        self.current += by_rows.nbytes
        self.peak = max(self.peak, self.current)
        kept = Spilled(room.copy_(by_rows, non_blocking=True), strip.device)
        finalize(kept, self._release, by_rows.nbytes)
        return kept

    def _mapped(self, like: Tensor) -> Tensor:
        """Room in a file that has no name and goes with the last tensor in it."""
        size = -(-like.nbytes // ALIGNMENT) * ALIGNMENT
        if self._of_file.nbytes < size:
            self._of_file = _file(max(size, BLOCK))
        room, self._of_file = self._of_file[: like.nbytes], self._of_file[size:]
        return torch.from_numpy(room.reshape(*like.shape[:-1], -1)).view(like.dtype)

    def _pinned(self, like: Tensor) -> Tensor:
        """Room in a pinned block that goes with the last tensor in it."""
        size = -(-like.nbytes // ALIGNMENT) * ALIGNMENT
        if self._of_pinned.nbytes < size:
            with torch.inference_mode(False):
                self._of_pinned = torch.empty(block_size(size), dtype=torch.uint8, pin_memory=True)
        room, self._of_pinned = self._of_pinned[: like.nbytes], self._of_pinned[size:]
        return room.view(like.dtype).view(like.shape)

    def _release(self, nbytes: int) -> None:
        self.current -= nbytes


def block_size(strip: int) -> int:
    """Bytes to pin at once for strips of so many: a power of two, to which torch rounds up."""
    size = 1 << (max(strip, BLOCK) - 1).bit_length()
    while size % strip > LEFT_OVER * size:
        size *= 2
    return size


def _file(nbytes: int) -> Bytes:
    with TemporaryFile() as file:
        file.truncate(nbytes)
        return np.frombuffer(mmap.mmap(file.fileno(), nbytes), dtype=np.uint8)
