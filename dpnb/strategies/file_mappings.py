"""Which tensors are bytes of a mapped file, and how to map them again."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from weakref import WeakValueDictionary, finalize, ref

import torch
from torch import Tensor

from dpnb.errors import StrategyError

MAPS = Path("/proc/self/maps")
"""Where Linux says what a process has mapped."""

_PRIVATE_FILE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) r.{2}p ([0-9a-f]+) \S+ \d+ +(/.*)")


@dataclass(frozen=True)
class FileMapping:
    """Bytes of a file that this process has mapped for itself.

    Attributes:
        start: the first address.
        stop: the address after the last one.
        offset: of the first byte in the file.
        path: of the file.
    """

    start: int
    stop: int
    offset: int
    path: str


def list_file_mappings() -> Iterator[FileMapping]:
    """All of them, by their addresses; none where the system does not say."""
    try:
        lines = MAPS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return
    for match in filter(None, map(_PRIVATE_FILE.fullmatch, lines)):
        start, stop, offset = (int(match[group], 16) for group in (1, 2, 3))
        yield FileMapping(start, stop, offset, match[4])


class KnownFiles:
    """Files that tensors are mapped from, each open once, for as long as tensors may need it."""

    def __init__(self) -> None:
        self._open: WeakValueDictionary[str, OpenFile] = WeakValueDictionary()

    def find(self, data: Tensor, mapping: FileMapping) -> MappedTensor | None:
        """Where a tensor is in a file; `None` where that holds other bytes there by now."""
        try:
            file = self._open.get(mapping.path) or OpenFile(mapping.path)
        except OSError:
            return None
        self._open[mapping.path] = file
        start = mapping.offset + data.data_ptr() - mapping.start
        found = MappedTensor(file, start, data.dtype, data.shape)
        return found if found.holds(data) else None


class OpenFile:
    """A file that was opened, and what it was then.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._mapping: ref[mmap.mmap] | None = None
        with ExitStack() as opened:
            self._file: BinaryIO = opened.enter_context(Path(path).open("rb"))
            self._state = self._look()
            finalize(self, opened.pop_all().close)

    @property
    def is_as_before(self) -> bool:
        """Whether nobody has written to it since it was opened."""
        return self._look() == self._state

    def map(self) -> mmap.mmap:
        """All of it, once for all tensors, and for as long as there are any."""
        mapped = None if self._mapping is None else self._mapping()
        if mapped is None:
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._mapping = ref(mapped)
        return mapped

    def _look(self) -> tuple[int, int]:
        state = os.fstat(self._file.fileno())
        return state.st_size, state.st_mtime_ns


@dataclass(frozen=True)
class MappedTensor:
    """A tensor's place in a file.

    Attributes:
        file: the file.
        start: of its first byte there.
        dtype: of the tensor.
        shape: likewise.
    """

    file: OpenFile
    start: int
    dtype: torch.dtype
    shape: torch.Size

    def holds(self, data: Tensor) -> bool:
        """Whether the file holds the bytes of `data` there."""
        try:
            return torch.equal(_bytes_of(self._map()), _bytes_of(data))
        except (OSError, ValueError):
            return False

    def map(self) -> Tensor:
        """The tensor, mapped anew for this process.

        Raises:
            StrategyError: somebody has written to the file.
        """
        if not self.file.is_as_before:
            raise StrategyError(
                f"{self.file.path} was written to while weights that were mapped from it waited "
                "there; load the pipeline anew."
            )
        return self._map()

    def _map(self) -> Tensor:
        count = self.shape.numel()
        whole = self.file.map()
        flat = torch.frombuffer(whole, dtype=self.dtype, count=count, offset=self.start)
        return flat.view(self.shape)


def _bytes_of(data: Tensor) -> Tensor:
    return data.reshape(-1).view(torch.uint8)
