"""Pictures of whatever form as numbers, in pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from PIL import Image

Values: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
"""A picture, `[height, width, 3]`, colours in [0, 1]."""

LEAST = 11
"""Pixels along a side, of the window through which SSIM looks."""

FORMS = "PIL pictures, arrays [height, width, 3] of values in [0, 1] or bytes, or lists of them"


def pair_pictures(first: Any, second: Any) -> list[tuple[Values, Values]]:
    """Pictures beside those that they are compared with.

    Args:
        first: a PIL picture; an array `[height, width]` or `[..., height, width, channels]` of
            values in [0, 1] or of bytes; or a list of such.
        second: as many.

    Raises:
        TypeError: these are no pictures.
        ValueError: they differ in number or in size, are too small, or hold no numbers.
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
        yield np.asarray(_on_white(given), dtype=np.float32) / np.float32(255)
    elif isinstance(given, np.ndarray):
        yield from _read_array(given)
    elif isinstance(given, Sequence) and not isinstance(given, (str, bytes)):
        for one in given:
            yield from _read(one)
    else:
        raise TypeError(f"{type(given).__name__} is no picture; give {FORMS}.")


def _on_white(picture: Image.Image) -> Image.Image:
    """Without transparency, as pages show it."""
    if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
        return picture.convert("RGB")
    opaque = Image.new("RGBA", picture.size, "white")
    opaque.alpha_composite(picture.convert("RGBA"))
    return opaque.convert("RGB")


def _read_array(given: np.ndarray[Any, Any]) -> Iterator[Values]:
    if given.dtype.kind not in "fu" or (given.dtype.kind == "u" and given.dtype != np.uint8):
        raise TypeError(f"an array of {given.dtype} is no picture; give {FORMS}.")
    levels = given if given.ndim > 2 else given[..., None]
    if levels.ndim < 3 or levels.shape[-1] not in (1, 3):
        raise ValueError(
            f"an array {list(given.shape)} is no picture; give [height, width, 3], or "
            "[..., height, width, 3] for several."
        )
    values = levels.astype(np.float32) / (255 if given.dtype == np.uint8 else 1)
    if not np.isfinite(values).all():
        raise ValueError("a picture holds NaN or infinity, which cannot be compared; draw it anew.")
    whole = np.broadcast_to(values.clip(0, 1), (*values.shape[:-1], 3))
    yield from np.ascontiguousarray(whole).reshape(-1, *whole.shape[-3:])


def _size(values: Values) -> str:
    return f"{values.shape[1]} × {values.shape[0]}"
