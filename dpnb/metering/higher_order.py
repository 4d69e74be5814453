"""Operators that take functions, such as flex attention, as the operations they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch._C import DispatchKey
from torch._ops import HigherOrderOperator


def unfold(operator: HigherOrderOperator, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Do what `operator` does in operations that a mode of dispatch sees; else by itself.

    Args:
        operator: is called within the mode that is to see its operations.
        args: that it is given.
        kwargs: that it is given by name.
    """
    kernels = operator.py_kernels
    plain = kernels.get(DispatchKey.CompositeExplicitAutograd, operator)
    return plain(*args, **kwargs)
