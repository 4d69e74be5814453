"""The layouts of what an operation returns, found by torch's fake tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch._ops import OpOverload

from dpnb.planning.operations import Operation, operation_of

Layout: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]

aten = torch.ops.aten

PRODUCTS: frozenset[OpOverload] = frozenset(
    {
        aten.addmm.default,
        aten.baddbmm.default,
        aten.bmm.default,
        aten.convolution.default,
        aten.mm.default,
    }
)
"""What multiplies tensors of one dtype alone."""


@dataclass(frozen=True)
class Result:
    """What an operation makes of arguments of one kind.

    Attributes:
        operation: what a device has to do for it.
        layouts: of the tensors that it returns; other values as they are.
        is_one: whether it returns one value instead of several.
        scratch: bytes that a device needs beside these while it computes.
    """

    operation: Operation
    layouts: tuple[Any, ...]
    is_one: bool
    scratch: int = 0

    def make(self, lay_out: Callable[[Layout], Tensor]) -> Any:
        """The values that are returned, with tensors by `lay_out`."""
        made = [lay_out(item) if isinstance(item, tuple) else item for item in self.layouts]
        return made[0] if self.is_one else tuple(made)


def find_layouts(
    func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: Sequence[Tensor]
) -> Result | None:
    """What `func` makes of such arguments; `None` where that depends on their values.

    Args:
        func: the operator.
        args: that it is given.
        kwargs: that it is given by name.
        inputs: the tensors among these.

    Raises:
        RuntimeError: a device would refuse them.
    """
    _refuse_mixed_dtypes(func, inputs)
    from torch._subclasses import FakeTensorMode
    from torch._subclasses.fake_tensor import (
        DataDependentOutputException,
        DynamicOutputShapeException,
    )

    try:
        with FakeTensorMode():
            out = func(*_fake(args), **_fake(kwargs))
    except (DataDependentOutputException, DynamicOutputShapeException):
        return None
    is_one = not isinstance(out, (tuple, list))
    values = (out,) if is_one else tuple(out)
    layouts = tuple(
        (tuple(v.shape), v.stride(), v.dtype) if isinstance(v, Tensor) else v for v in values
    )
    return Result(operation_of(func, args, kwargs, inputs, out), layouts, is_one)


def _refuse_mixed_dtypes(func: OpOverload, inputs: Sequence[Tensor]) -> None:
    """Fake tensors do not mind what kernels refuse: that factors of a product differ in dtype."""
    dtypes = {tensor.dtype for tensor in inputs} if func in PRODUCTS else set()
    if len(dtypes) > 1:
        names = " and ".join(sorted(str(dtype).removeprefix("torch.") for dtype in dtypes))
        raise RuntimeError(f"{func._schema.name} is given {names}; it takes one dtype.")


def layout_key(value: Any) -> Any:
    """What tells arguments apart that lead to different layouts."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    if isinstance(value, (tuple, list)):
        return tuple([layout_key(item) for item in value])
    return type(value), value


def list_tensors(tree: object) -> list[Tensor]:
    """All tensors in nested tuples, lists and dictionaries."""
    found: list[Tensor] = []
    _collect(tree, found)
    return found


def _collect(tree: object, found: list[Tensor]) -> None:
    if isinstance(tree, Tensor):
        found.append(tree)
    elif isinstance(tree, (tuple, list)):
        for branch in tree:
            _collect(branch, found)
    elif isinstance(tree, dict):
        _collect(tuple(tree.values()), found)


def _fake(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty_strided(
            value.shape, value.stride(), dtype=value.dtype, device=value.device
        )
    if isinstance(value, (tuple, list)):
        return type(value)(_fake(item) for item in value)
    if isinstance(value, Mapping):
        return {name: _fake(item) for name, item in value.items()}
    return value
