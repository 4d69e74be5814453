"""Reads of a tensor's memory that torch does not count among its operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from typing_extensions import override

READS: frozenset[Callable[..., Any]] = frozenset(
    {Tensor.numpy, Tensor.__array__, Tensor.__dlpack__}
)
"""Methods that hand the memory of a tensor to another library."""


class ValueReads(TorchFunctionMode):
    """A mode in which such a read of a tensor whose values may decide something is told of.

    Arrays of floating-point numbers, and of bytes, are what pipelines hand out as pictures: those
    may be made. Indices, counts and masks are there to be looked at, as is whatever becomes a list.

    Args:
        look: is told of a tensor before it is read, and may refuse that.
    """

    def __init__(self, look: Callable[[Tensor], None]) -> None:
        super().__init__()
        self._look = look

    @override
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.tolist or (func in READS and not _may_be_picture(args[0])):
            self._look(args[0])
        return func(*args, **(kwargs or {}))


def _may_be_picture(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.dtype is torch.uint8
