"""A safetensors file that lies inside a larger file: its tensors are mapped where they are.

The format: eight bytes with the length of a JSON header, the header, and the tensors without gaps
(https://huggingface.co/docs/safetensors).
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.errors import CheckpointError
from dpnb.files import decode_json
from dpnb.loading.weights.tensor_files import DTYPES, ChooseDtype, damage_error

MAX_HEADER = 100_000_000
"""Bytes; safetensors itself takes no longer header."""

LONGEST = 1 << 40
"""Of a tensor's sizes; torch itself takes less than 2**63 for all of them together."""

_LENGTH = 8
_DTYPE_OF = {name: dtype for dtype, name in DTYPES.items()}


@dataclass(frozen=True)
class EmbeddedFile:
    """Bytes of a file that are a file of their own.

    Attributes:
        path: the larger file.
        offset: where the slice begins in it, in bytes.
        length: of the slice, in bytes.
        name: of the file that the slice is.
    """

    path: Path
    offset: int
    length: int
    name: str

    @property
    def suffix(self) -> str:
        """The end of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @override
    def __str__(self) -> str:
        return f"{self.path}/{self.name}"


@dataclass(frozen=True)
class _Entry:
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    """In the larger file, in bytes."""

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def is_aligned(self) -> bool:
        return self.start % self.dtype.itemsize == 0


def read_embedded_tensor_names(part: EmbeddedFile) -> frozenset[str]:
    """The names of the tensors in `part`, from its header alone.

    Raises:
        CheckpointError: it is damaged.
    """
    with part.path.open("rb") as file:
        return frozenset(_entries(part, file))


def read_embedded_tensors(
    part: EmbeddedFile, choose_dtype: ChooseDtype, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of `part`, one at a time; see `tensor_files.read_tensors`.

    One that stays on the CPU in its own dtype is a view of the mapped file, where the file holds it
    at a multiple of its element size. Others are read past the mapping.

    Raises:
        CheckpointError: it is damaged.
    """
    with part.path.open("rb") as file:
        entries = _entries(part, file)
        begin = part.offset - part.offset % mmap.ALLOCATIONGRANULARITY
        mapped = mmap.mmap(
            file.fileno(),
            part.offset - begin + part.length,
            access=mmap.ACCESS_COPY,
            offset=begin,
        )
        for name, entry in entries.items():
            dtype = choose_dtype(name, entry.dtype)
            is_view = dtype == entry.dtype and device.type == "cpu" and entry.is_aligned
            tensor = _view(mapped, begin, entry) if is_view else _read(file, part, entry)
            yield name, tensor.to(device).to(dtype)


def _view(mapped: mmap.mmap, begin: int, entry: _Entry) -> Tensor:
    if entry.nbytes == 0:
        return torch.empty(entry.shape, dtype=entry.dtype)
    flat = torch.frombuffer(
        mapped, dtype=entry.dtype, count=math.prod(entry.shape), offset=entry.start - begin
    )
    return flat.reshape(entry.shape)


def _read(file: BinaryIO, part: EmbeddedFile, entry: _Entry) -> Tensor:
    content = torch.empty(entry.nbytes, dtype=torch.uint8)
    file.seek(entry.start)
    if entry.nbytes and file.readinto(content.numpy().data) != entry.nbytes:  # type: ignore[attr-defined]
        raise damage_error(part, EOFError("it ends too early"))
    return content.view(entry.dtype).reshape(entry.shape)


def _entries(part: EmbeddedFile, file: BinaryIO) -> dict[str, _Entry]:
    file.seek(part.offset)
    length = int.from_bytes(file.read(_LENGTH), "little")
    if part.length < _LENGTH or length > min(MAX_HEADER, part.length - _LENGTH):
        raise damage_error(part, ValueError("its header is longer than the file"))
    try:
        header = decode_json(file.read(length))
        header.pop("__metadata__", None)
        start = part.offset + _LENGTH + length
        found = {name: _entry(part, name, values, start) for name, values in header.items()}
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damage_error(part, ValueError("its header is not a table of tensors")) from error
    end = start
    for entry in sorted(found.values(), key=lambda entry: (entry.start, entry.nbytes)):
        if entry.start != end:
            raise damage_error(part, ValueError("its tensors overlap or leave gaps"))
        end += entry.nbytes
    if end != part.offset + part.length:
        raise damage_error(part, ValueError("its tensors do not fill it"))
    return found


def _entry(part: EmbeddedFile, name: str, values: dict[str, Any], start: int) -> _Entry:
    if values["dtype"] not in _DTYPE_OF:
        raise CheckpointError(
            f"{part} holds {name!r} in dtype {values['dtype']}, which dpnb does not read; "
            "use another form of this model."
        )
    first, last = map(int, values["data_offsets"])
    shape = tuple(map(int, values["shape"]))
    entry = _Entry(_DTYPE_OF[values["dtype"]], shape, start + first)
    if min((first, *shape)) < 0 or max(shape, default=0) > LONGEST or last - first != entry.nbytes:
        raise damage_error(part, ValueError(f"{name!r} is not as long as its shape says"))
    return entry
