"""Where values wait that are needed again once a strategy is switched off."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from tempfile import TemporaryFile, gettempdir
from threading import Lock
from typing import Any
from weakref import finalize, ref

import torch
from torch import Tensor

from dpnb.errors import StrategyError
from dpnb.strategies.file_mappings import KnownFiles, MappedTensor, list_file_mappings
from dpnb.units import format_bytes


class SetAside:
    """Puts tensors' values away.

    Those of a device wait on the host; from there they go into a file that nobody else sees. What
    is mapped from a file, and is still what that holds, is mapped again when it is needed.
    """

    def __init__(self) -> None:
        self._room: ref[WaitingRoom] | None = None

    def __call__(self, data: Tensor) -> Callable[[], Tensor]:
        """What brings the values of `data` back, to where they were; it may be called again."""
        if data.device.type != "cpu":
            host, device = data.to("cpu"), data.device
            return lambda: host.to(device)
        if not _is_alone(data):
            return lambda: data
        room = None if self._room is None else self._room()
        if room is None:
            room = WaitingRoom()
            self._room = ref(room)
        return room.take(data)


def _is_alone(data: Tensor) -> bool:
    """Whether a tensor has its memory to itself, and each of its elements is there once.

    Any other would not be freed by itself, or could not be made again as it was.
    """
    is_whole = data.untyped_storage().nbytes() == data.nbytes
    return is_whole and torch.empty_like(data, device="meta").stride() == data.stride()


class WaitingRoom:
    """Where the values of several tensors wait; it goes with the last of them.

    What the process has mapped is looked at once. That may be old for a tensor that comes later:
    what a file holds is compared with the tensor's bytes.
    """

    def __init__(self) -> None:
        self._mappings, self._files = list(list_file_mappings()), KnownFiles()
        self._starts = [mapping.start for mapping in self._mappings]
        self._end = 0
        self._free: defaultdict[int, list[int]] = defaultdict(list)
        self._lock = Lock()
        with ExitStack() as opened:
            try:
                # Without a buffer, which would go on failing once a disk is full.
                self._file = opened.enter_context(TemporaryFile(buffering=0))
            except OSError as error:
                raise _no_room(0, error) from error
            finalize(self, opened.pop_all().close)

    def take(self, data: Tensor) -> Callable[[], Tensor]:
        """Let a tensor's values wait; what is returned brings them back."""
        mapped = self._find_in_file(data) if data.is_contiguous() and data.numel() else None
        return self._write(data) if mapped is None else partial(self._map, mapped)

    def _find_in_file(self, data: Tensor) -> MappedTensor | None:
        start, stop = data.data_ptr(), data.data_ptr() + data.nbytes
        place = bisect_right(self._starts, start) - 1
        if place < 0 or self._mappings[place].stop < stop:
            return None
        return self._files.find(data, self._mappings[place])

    def _map(self, mapped: MappedTensor) -> Tensor:
        """Map a tensor anew; a method, so that the room stays as long as anything waits."""
        return mapped.map()

    def _write(self, data: Tensor) -> Callable[[], Tensor]:
        content = data.contiguous().reshape(-1).view(torch.uint8)
        with self._lock:
            free = self._free[data.nbytes]
            start = free[-1] if free else self._end
            try:
                self._file.seek(start)
                _move_all(self._file.write, content)
            except OSError as error:
                raise _no_room(data.nbytes, error) from error
            self._end = max(self._end, start + data.nbytes)
            if free:
                free.pop()
        read = partial(self._read, start, data.shape, data.stride(), data.dtype)
        finalize(read, free.append, start)
        return read

    def _read(
        self, start: int, shape: torch.Size, stride: tuple[int, ...], dtype: torch.dtype
    ) -> Tensor:
        content = torch.empty(shape.numel() * dtype.itemsize, dtype=torch.uint8)
        with self._lock:
            self._file.seek(start)
            is_whole = _move_all(self._file.readinto, content)
        if not is_whole:
            raise StrategyError("The file that weights waited in is shorter than it was.")
        values = content.view(dtype).view(shape)
        if values.stride() == stride:
            return values
        return torch.empty_strided(shape, stride, dtype=dtype).copy_(values)


def _move_all(move: Callable[[Any], int | None], content: Tensor) -> bool:
    """Let a file take or give all bytes, which it does in parts; whether it has had so many."""
    view, done = memoryview(content.numpy().data), 0
    while done < len(view):
        count = move(view[done:])
        if not count:
            return False
        done += count
    return True


def _no_room(nbytes: int, error: OSError) -> StrategyError:
    waiting = f"{format_bytes(nbytes)} of plain weights have" if nbytes else "Plain weights have"
    return StrategyError(
        f"{waiting} to wait in a file, and there is no room for it in {gettempdir()} "
        f"({error.strerror or type(error).__name__}); make room there, or let the environment "
        "variable TMPDIR name a folder that has some before Python starts."
    )
