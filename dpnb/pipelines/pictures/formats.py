"""The formats in which pictures come: PIL's modes, arrays and tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL.Image import Image

DEEP = 257
"""Levels of 16 bits for one of 8."""


TRANSPARENT = ("RGBA", "RGBa", "LA", "La", "PA")
"""PIL's modes with a channel of how opaque a picture is."""


def normalize_mode(name: str, picture: Image, *, is_mask: bool) -> Image:
    """A PIL picture in a mode whose conversion to RGB or to grey keeps what it shows.

    Transparency is left out, as PIL does.

    Args:
        name: of the argument, for errors.
        picture: in any mode.
        is_mask: whether it is one.

    Raises:
        ValueError: what its numbers mean is not known, or a mask is partly transparent.
    """
    if not (picture.width and picture.height):
        raise ValueError(f"{name} is {picture.width} x {picture.height} pixels; it has none.")
    if picture.mode.startswith("I;16"):
        return _of_16_bits(picture)
    if picture.mode in ("I", "F"):
        raise ValueError(
            f"{name} is of PIL's mode {picture.mode}, whose numbers have no known range; scale "
            'them to 8 bits first, for example with .point(lambda level: level / 257).convert("L") '
            "from 16 bits."
        )
    if is_mask and _is_transparent(picture):
        raise ValueError(
            f'{name} has transparent pixels; a mask says it by white. Use .getchannel("A") of an '
            'RGBA picture where that is meant, or .convert("L") to go by its colours.'
        )
    return picture.convert(picture.mode.upper()) if picture.mode in ("RGBa", "La") else picture


def parse_array(name: str, given: np.ndarray[Any, Any] | Tensor, *, is_mask: bool) -> Tensor:
    """Pictures as floating-point numbers, `[pictures, channels, height, width]`; 8 bits are [0, 1].

    Args:
        name: of the argument, for errors.
        given: an array with its channels last, or a tensor with its channels first; grey pictures
            and masks may come without.
        is_mask: whether it is one: three axes are then several masks.

    Raises:
        ValueError: it has another number of axes, or no pixels.
        TypeError: it does not hold numbers.
    """
    is_array = isinstance(given, np.ndarray)
    if given.ndim not in (2, 3, 4):
        raise ValueError(
            f"{name} has shape {tuple(given.shape)}; a picture has height, width and channels."
        )
    if 0 in given.shape:
        raise ValueError(f"{name} has shape {tuple(given.shape)}, which holds no pixels.")
    tensor = _from_array(name, given) if isinstance(given, np.ndarray) else given
    if tensor.is_complex() or tensor.is_quantized:
        raise TypeError(f"{name} is of dtype {tensor.dtype}; give real numbers.")
    batch = _batched(_of_floats(tensor), is_array=is_array, is_mask=is_mask)
    return batch.permute(0, 3, 1, 2) if is_array and batch.ndim == 4 else _with_channel(batch)


def _of_16_bits(picture: Image) -> Image:
    from PIL import Image

    levels = np.asarray(picture).astype(np.uint32)
    return Image.fromarray(((levels + DEEP // 2) // DEEP).astype(np.uint8))


def _is_transparent(picture: Image) -> bool:
    if not (picture.mode in TRANSPARENT or "transparency" in picture.info):
        return False
    least, _ = picture.convert("RGBA").getchannel("A").getextrema()
    return least != 255


def _from_array(name: str, given: np.ndarray[Any, Any]) -> Tensor:
    if given.dtype.kind not in "buif":
        raise TypeError(f"{name} is an array of dtype {given.dtype}; give numbers.")
    known = given.dtype in (np.uint8, np.bool_, np.float16, np.float32, np.float64)
    plain = given.astype(given.dtype.newbyteorder("=") if known else np.float64)
    return torch.from_numpy(np.ascontiguousarray(plain))


def _of_floats(tensor: Tensor) -> Tensor:
    if tensor.dtype == torch.uint8:
        return tensor.float() / 255.0
    return tensor if tensor.is_floating_point() else tensor.float()


def _batched(tensor: Tensor, *, is_array: bool, is_mask: bool) -> Tensor:
    """`[pictures, ...]`: an axis for pictures in front of whatever is one picture."""
    if tensor.ndim == 4:
        return tensor
    if tensor.ndim == 3 and is_mask and not (is_array and tensor.shape[-1] <= 4):
        return tensor
    return tensor[None]


def _with_channel(batch: Tensor) -> Tensor:
    return batch if batch.ndim == 4 else batch[:, None]
