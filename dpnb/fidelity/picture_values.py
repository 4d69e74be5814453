"""Pictures of whatever form as numbers, in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from torch import Tensor

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
"""A picture, `[height, width, 3]`, colours in [0, 1]."""

LEAST = 11
"""Pixels along a side, of the window through which SSIM looks."""

FORMS = "PIL pictures, arrays [height, width, 3] of values in [0, 1] or bytes, or lists of them"

CHANNELS = (1, 3, 4)
"""Of a grey picture, one with colours, and one with colours and opacity."""

BEYOND = 0.01
"""So far beyond [0, 1] values may be, by rounding."""


def pair_pictures(first: Any, second: Any) -> list[tuple[Values, Values]]:
    """Pictures beside those that they are compared with.

    Args:
        first: a PIL picture; an array `[height, width]` or `[..., height, width, channels]`, or a
            tensor `[..., channels, height, width]`, of values in [0, 1] or of bytes; or a list of
            such. Whole numbers of 16 bits are bytes, too, where none is above 255. What is
            transparent stands on white.
        second: as many.

    Raises:
        TypeError: these are no pictures.
        ValueError: they differ in number or in size, are too small, or have other values.
    """
    ours, theirs = list(_read(first)), list(_read(second))
    if not ours or len(ours) != len(theirs):
        raise ValueError(
            f"there are {len(ours)} and {len(theirs)} pictures; give the same number of both, and "
            "one at least."
        )
    for one, other in zip(ours, theirs, strict=True):
        if one.shape != other.shape:
            raise ValueError(
                f"the pictures have {_size(one)} and {_size(other)} pixels; only pictures of one "
                "size can be compared."
            )
        if min(one.shape[:2]) < LEAST:
            raise ValueError(
                f"the pictures have {_size(one)} pixels; give some with {LEAST} at least along "
                "each side."
            )
    return list(zip(ours, theirs, strict=True))


def to_levels(values: Values) -> Image.Image:
    """A picture of 256 levels."""
    return Image.fromarray((values * 255).round().astype(np.uint8))


def _read(given: Any) -> Iterator[Values]:
    if isinstance(given, Image.Image):
        yield from _read_array(_levels_of(given))
    elif isinstance(given, Tensor):
        yield from _read_array(_channels_last(given.detach().cpu()))
    elif isinstance(given, np.ndarray):
        yield from _read_array(given)
    elif isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        for one in given:
            yield from _read(one)
    else:
        raise TypeError(f"{type(given).__name__} is no picture; give {FORMS}.")


def _levels_of(picture: Image.Image) -> np.ndarray[Any, Any]:
    """A PIL picture as bytes, one of 16 bits as values in [0, 1]; what is transparent on white."""
    if picture.mode in ("I", "F"):
        raise ValueError(
            f"a picture of mode {picture.mode} does not say which values are black and white; give "
            "an array of values in [0, 1] in its place."
        )
    if picture.mode.startswith("I;16"):
        return np.asarray(picture).astype(np.float32) / 65535
    has_alpha = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    return np.asarray(picture.convert("RGBA" if has_alpha else "RGB"))


def _channels_last(given: Tensor) -> np.ndarray[Any, Any]:
    """A tensor as an array; `[..., channels, height, width]` is how pipelines return them."""
    is_first = given.ndim > 2 and given.shape[-3] in CHANNELS
    moved = given.movedim(-3, -1) if is_first else given
    array: np.ndarray[Any, Any] = (moved.float() if moved.is_floating_point() else moved).numpy()
    return array


def _read_array(given: np.ndarray[Any, Any]) -> Iterator[Values]:
    if given.dtype.kind not in "fui":
        raise TypeError(f"an array of {given.dtype} is no picture; give {FORMS}.")
    levels = given if given.ndim > 2 else given[..., None]
    if levels.ndim < 3 or levels.shape[-1] not in CHANNELS:
        raise ValueError(
            f"an array {list(given.shape)} is no picture; give [height, width, 3], or "
            "[..., height, width, 3] for several."
        )
    values = _to_unit(levels)
    if values.shape[-1] == 4:
        values = values[..., :3] * values[..., 3:] + (1 - values[..., 3:])
    whole = np.broadcast_to(values, (*values.shape[:-1], 3))
    yield from np.ascontiguousarray(whole).reshape(-1, *whole.shape[-3:])


def _to_unit(levels: np.ndarray[Any, Any]) -> Values:
    """Values in [0, 1]; whole numbers are levels of 255, but of 65535 where 16 bits hold more."""
    is_deep = levels.dtype == np.uint16 and levels.max(initial=0) > 255
    whole = 65535 if is_deep else 255
    top = 1 if levels.dtype.kind == "f" else whole
    values: Values = levels.astype(np.float32) / np.float32(top)
    if not np.isfinite(values).all():
        raise ValueError("a picture holds NaN or infinity, which cannot be compared; draw it anew.")
    low, high = float(values.min(initial=0)), float(values.max(initial=0))
    if low < -BEYOND or high > 1 + BEYOND:
        wanted = "[0, 1]" if top == 1 else "0 to 255"
        raise ValueError(
            f"a picture has values from {low * top:.4g} to {high * top:.4g}, which should be "
            f"{wanted}; {_remedy(low, high, top)}."
        )
    return values.clip(0, 1)


def _remedy(low: float, high: float, top: int) -> str:
    if top > 1:
        return "give bytes, or values in [0, 1]"
    if -1 - BEYOND <= low < -BEYOND and high <= 1 + BEYOND:
        return "add 1 and divide by 2"
    return "divide by 255" if low >= 0 and high > 2 else "clip them, or draw it anew"


def _size(values: Values) -> str:
    return f"{values.shape[1]} × {values.shape[0]}"
