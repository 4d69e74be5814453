"""Outputs that are neither pictures nor sounds: in words, and as files of numbers."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

Numbers: TypeAlias = "np.ndarray[Any, Any]"

PICTURED = frozenset({"frames", "videos", "video", "images"})
"""What outputs call pictures and videos; numbers there that are none are latents."""

LARGEST = 8 << 20
"""Bytes of numbers that a page offers as a file."""


def describe_output(name: str, value: Any) -> str:
    """An output in words, for example `"latents, 1 × 4 × 8 × 8"`; empty for nothing.

    Args:
        name: what the pipeline calls it.
        value: whatever it is.
    """
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(one, str) for one in value):
            return "; ".join(value)
        said = describe_output(name, value[0]) if value else ""
        return f"{len(value)} × {said}" if said else ""
    if isinstance(value, (Tensor, np.ndarray)):
        return _describe_numbers(name, value)
    if isinstance(value, (int, float)):
        return f"{_spell(name)}: {value}"
    inner = "; ".join(
        _describe_numbers(one, held) for one, held in _held(value) if _is_numbers(held)
    )
    kind = f"{_spell(name)}: {type(value).__name__}"
    return f"{kind} ({inner})" if inner else kind


@dataclass(frozen=True, eq=False)
class NumbersFile:
    """Numbers as a file that numpy loads.

    Args:
        name: what they are.
        dtype: of each.
        content: of the file.
    """

    name: str
    dtype: str
    content: bytes


def write_numbers(name: str, value: Any) -> Iterator[NumbersFile]:
    """Files of the numbers in an output, as far as they are not too large."""
    if isinstance(value, (list, tuple)):
        for place, one in enumerate(value):
            yield from write_numbers(f"{name}-{place}" if len(value) > 1 else name, one)
    elif _is_numbers(value):
        numbers = to_array(value)
        if 0 < numbers.nbytes <= LARGEST:
            file = io.BytesIO()
            np.save(file, numbers, allow_pickle=False)
            yield NumbersFile(name, str(numbers.dtype), file.getvalue())
    else:
        for one, held in _held(value):
            if _is_numbers(held):
                yield from write_numbers(f"{name}-{one}", held)


def to_array(value: Tensor | Numbers) -> Numbers:
    """Numbers as numpy has them; what it does not know becomes float32."""
    if not isinstance(value, Tensor):
        return value
    plain = value.detach().cpu()
    return plain.float().numpy() if plain.dtype.itemsize < 4 else plain.numpy()


def _describe_numbers(name: str, value: Tensor | Numbers) -> str:
    if value.ndim == 0:
        return f"{_spell(name)}: {value.item()}"
    what = "latents" if name in PICTURED else _spell(name)
    return f"{what}, {' × '.join(str(size) for size in value.shape)}"


def _spell(name: str) -> str:
    return name.replace("_", " ").replace("embeds", "embeddings")


def _held(value: Any) -> Iterator[tuple[str, Any]]:
    """The names and values within an object or a mapping."""
    if isinstance(value, Mapping):
        yield from ((str(name), one) for name, one in value.items())
    elif "__dict__" in dir(value):
        yield from vars(value).items()


def _is_numbers(value: Any) -> bool:
    is_array = isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
    return is_array or isinstance(value, Tensor)
