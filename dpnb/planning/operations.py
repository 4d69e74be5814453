"""What an operation costs a device: arithmetic, and bytes to and from its memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils.flop_counter import flop_registry

aten = torch.ops.aten

QUERY_KEY_VALUE = {aten._scaled_dot_product_flash_attention_for_cpu}
"""Attention that torch's registry leaves out."""


@dataclass(frozen=True)
class Operation:
    """One call of a kernel.

    Attributes:
        kind: the name of the operator.
        dtype: of its arithmetic.
        flops: floating-point operations; a multiplication and an addition are two.
        nbytes: of what it reads and writes.
    """

    kind: str
    dtype: torch.dtype
    flops: int
    nbytes: int


def operation_of(
    func: OpOverload,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    inputs: Sequence[Tensor],
    out: Any,
) -> Operation:
    """What `func` has to do.

    Args:
        func: the operator.
        args: that it is given.
        kwargs: that it is given by name.
        inputs: the tensors among these.
        out: what it returns.
    """
    outputs = list(_tensors(out))
    nbytes = sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, *outputs))
    dtype = next((t.dtype for t in (*outputs, *inputs) if t.is_floating_point()), torch.int64)
    return Operation(func._schema.name, dtype, _flops(func, args, kwargs, inputs, out), nbytes)


def _flops(
    func: OpOverload,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    inputs: Sequence[Tensor],
    out: Any,
) -> int:
    if func._overloadpacket in QUERY_KEY_VALUE:
        query, key, value = inputs[:3]
        batch, heads, rows, width = query.shape
        return 2 * batch * heads * rows * key.shape[2] * (width + value.shape[3])
    formula = _formula(func)
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=out))


@cache
def _formula(func: OpOverload) -> Callable[..., int] | None:
    return flop_registry.get(func._overloadpacket)


def _tensors(tree: object) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, Iterable) and not isinstance(tree, str):
        for branch in tree:
            yield from _tensors(branch)
