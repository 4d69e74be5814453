"""What becomes of an operation that is given a tensor without values."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload

aten = torch.ops.aten

LOOKS: frozenset[OpOverload] = frozenset(
    {aten._local_scalar_dense.default, aten.equal.default, aten.is_nonzero.default}
)
"""What asks for the value of a tensor."""

UNSAID_VIEWS: frozenset[OpOverload] = frozenset(
    {
        aten._unsafe_view.default,
        aten.lift_fresh.default,
        aten.unsafe_split.Tensor,
        aten.unsafe_split_with_sizes.default,
    }
)
"""What returns the memory that it is given, without its schema saying so."""

SHAPES: frozenset[OpOverload] = frozenset(
    {
        aten.empty_like.default,
        aten.full_like.default,
        aten.new_empty.default,
        aten.new_empty_strided.default,
        aten.new_full.default,
        aten.new_ones.default,
        aten.new_zeros.default,
        aten.ones_like.default,
        aten.zeros_like.default,
    }
)
"""What asks a tensor for its shape, dtype and device alone."""

FILLS: frozenset[OpOverload] = frozenset(
    {aten.copy_.default, aten.fill_.Scalar, aten.fill_.Tensor, aten.zero_.default}
)
"""What writes to a tensor and does not read it."""


class Kind(Enum):
    """What is done with an operation that is given a valueless tensor."""

    VIEW = "it is done"
    LOOK = "it is refused"
    SHAPE = "it is done where its result is small, and else returns valueless tensors"
    FILL = "it is done where what it fills is small, and else as any change"
    CHANGE = "what it writes to is valueless afterwards"
    COMPUTE = "it returns valueless tensors"


@cache
def kind_of(func: Callable[..., Any]) -> Kind:
    """What is done with `func`, an operator or what torch calls like one."""
    if not isinstance(func, OpOverload) or func.is_view or func in UNSAID_VIEWS:
        return Kind.VIEW
    if torch.Tag.inplace_view in func.tags:
        return Kind.VIEW  # it changes how a tensor looks at its memory, as unsqueeze_ does
    if func in LOOKS:
        return Kind.LOOK
    if func in SHAPES:
        return Kind.SHAPE
    if func in FILLS:
        return Kind.FILL
    return Kind.CHANGE if func._schema.is_mutable else Kind.COMPUTE
