"""The one dtype of a network whose file holds several, or only such as nothing computes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

NARROW_STANDIN = torch.bfloat16
"""What weights of one byte, such as float8, are widened to: both kinds of float8 fit into it."""


def find_common_dtype(weights: Mapping[str, Tensor]) -> torch.dtype | None:
    """The floating dtype, wider than one byte, that most of the numbers have.

    Where there are only narrower ones it is `NARROW_STANDIN`; `None` without floating numbers.
    """
    counts: Counter[torch.dtype] = Counter()
    for tensor in weights.values():
        if tensor.is_floating_point():
            counts[tensor.dtype] += tensor.numel()
    wide = {dtype: count for dtype, count in counts.items() if dtype.itemsize > 1}
    if not wide:
        return NARROW_STANDIN if counts else None
    return max(wide, key=lambda dtype: (wide[dtype], dtype.itemsize, str(dtype)))


def cast_to_common_dtype(
    weights: Mapping[str, Tensor], keep_in_fp32: Collection[str] = ()
) -> dict[str, Tensor]:
    """`weights` with those cast whose floating dtype is not the common one.

    Args:
        weights: by name.
        keep_in_fp32: names of modules whose float32 weights stay so.
    """
    dtype, kept = find_common_dtype(weights), frozenset(keep_in_fp32)

    def cast(name: str, tensor: Tensor) -> Tensor:
        stays = tensor.dtype == torch.float32 and not kept.isdisjoint(name.split("."))
        return tensor if stays or not tensor.is_floating_point() else tensor.to(dtype)

    return {name: cast(name, tensor) for name, tensor in weights.items()}
