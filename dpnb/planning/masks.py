"""Masks that have values, as the indices that they stand for: those have a known shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

aten = torch.ops.aten

MASKS = (torch.bool, torch.uint8)


def index_by_masks(
    func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[OpOverload, tuple[Any, ...], dict[str, Any]]:
    """An operation that chooses by masks, as one that chooses by indices; others as they are.

    Args:
        func: the operator.
        args: that it is given; the masks among them have values.
        kwargs: that it is given by name.
    """
    if func is aten.masked_select.default and len(args) == 2:
        values, mask = torch.broadcast_tensors(*args)
        return aten.index.Tensor, (values, list(mask.nonzero().unbind(1))), {}
    if func is aten.index.Tensor and len(args) == 2:
        indices = [index for item in args[1] for index in _list_indices(item)]
        return func, (args[0], indices), dict(kwargs)
    return func, tuple(args), dict(kwargs)


def masks_of(func: OpOverload, args: Sequence[Any]) -> list[Tensor]:
    """The masks by whose values an operation chooses."""
    if func is aten.masked_select.default and len(args) == 2:
        return [args[1]]
    if func is aten.index.Tensor and len(args) == 2:
        return [item for item in args[1] if item is not None and item.dtype in MASKS]
    return []


def _list_indices(item: Tensor | None) -> Sequence[Tensor | None]:
    is_mask = item is not None and item.dtype in MASKS
    return item.nonzero().unbind(1) if is_mask and item is not None else (item,)
