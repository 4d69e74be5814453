"""Where the strips of a feature map are kept until the next layer takes them."""

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
"""Bytes of a temporary file, and the least that are pinned at once: room for many small strips."""

MOST_UNUSED = 1 / 8
"""The largest part of a pinned block that strips of one size may leave unused."""

ALIGNMENT = 64


class StoredStrip(Protocol):
    """A strip in a store."""

    @property
    def height(self) -> int:
        """Number of rows."""
        ...

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows from `start` to `stop`, `[batch, channels, rows, width]`, on the device."""
        ...


class StripStore(Protocol):
    """Keeps strips `[batch, channels, rows, width]`."""

    def add(self, strip: Tensor) -> StoredStrip:
        """Store a strip until nothing refers to what is returned."""
        ...


@dataclass(frozen=True, eq=False)
class DeviceStrip:
    """A strip that stays on the device where it was made."""

    strip: Tensor

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.strip.shape[2]

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows from `start` to `stop`: a view."""
        return self.strip[:, :, start:stop]


class DeviceStore:
    """Keeps strips on the device that computes."""

    def add(self, strip: Tensor) -> DeviceStrip:
        """Store a strip."""
        return DeviceStrip(strip)


@dataclass(frozen=True, eq=False)
class HostStrip:
    """A strip off the device, row by row: `[rows, batch, channels, width]`."""

    strip: Tensor
    device: torch.device

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.strip.shape[0]

    def rows(self, start: int, stop: int) -> Tensor:
        """The rows from `start` to `stop`, copied to the device."""
        part = self.strip[start:stop]
        on_device = torch.empty(part.shape, dtype=part.dtype, device=self.device)
        return on_device.copy_(part, non_blocking=True).permute(1, 2, 0, 3)


class HostStore:
    """Keeps strips off the device: in pinned host memory if it is CUDA, else in temporary files.

    Attributes:
        current: bytes in the store.
        peak: the most that there have been.
    """

    def __init__(self) -> None:
        self.current = 0
        self.peak = 0
        self._file_room = np.empty(0, np.uint8)
        self._pinned_room = torch.empty(0, dtype=torch.uint8)

    def add(self, strip: Tensor) -> HostStrip:
        """Store a strip."""
        by_rows = strip.permute(2, 0, 1, 3).contiguous()
        with no_counting():
            room = (
                self._allocate_pinned(by_rows) if strip.is_cuda else self._allocate_mapped(by_rows)
            )
        self.current += by_rows.nbytes
        self.peak = max(self.peak, self.current)
        stored = HostStrip(room.copy_(by_rows, non_blocking=True), strip.device)
        finalize(stored, self._release, by_rows.nbytes)
        return stored

    def _allocate_mapped(self, like: Tensor) -> Tensor:
        """A tensor in a mapped file without a name, which is freed with the last tensor in it."""
        size = -(-like.nbytes // ALIGNMENT) * ALIGNMENT
        if self._file_room.nbytes < size:
            self._file_room = _map_file(max(size, BLOCK))
        room, self._file_room = self._file_room[: like.nbytes], self._file_room[size:]
        return torch.from_numpy(room.reshape(*like.shape[:-1], -1)).view(like.dtype)

    def _allocate_pinned(self, like: Tensor) -> Tensor:
        """A tensor in a pinned block, which is freed with the last tensor in it."""
        size = -(-like.nbytes // ALIGNMENT) * ALIGNMENT
        if self._pinned_room.nbytes < size:
            with torch.inference_mode(False):
                self._pinned_room = torch.empty(
                    block_size(size), dtype=torch.uint8, pin_memory=True
                )
        room, self._pinned_room = self._pinned_room[: like.nbytes], self._pinned_room[size:]
        return room.view(like.dtype).view(like.shape)

    def _release(self, nbytes: int) -> None:
        self.current -= nbytes


def block_size(strip: int) -> int:
    """Bytes to pin at once for strips of `strip` bytes: a power of two, as torch rounds up."""
    size = 1 << (max(strip, BLOCK) - 1).bit_length()
    while size % strip > MOST_UNUSED * size:
        size *= 2
    return size


def _map_file(nbytes: int) -> Bytes:
    with TemporaryFile() as file:
        file.truncate(nbytes)
        return np.frombuffer(mmap.mmap(file.fileno(), nbytes), dtype=np.uint8)
