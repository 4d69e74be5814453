"""Values that JSON can hold, told apart from those that it cannot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from dpnb.numbers import to_builtin

Pairs: TypeAlias = tuple[tuple[str, Any], ...]
"""Names and plain values, as a value of its own."""


def split_plain(values: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What of `values` JSON can hold, and the names of the rest.

    Numbers of numpy and torch become Python's own, tuples become lists. What is a picture, a
    tensor, a function or not finite is not plain.
    """
    plain: dict[str, Any] = {}
    others: list[str] = []
    for name, value in values.items():
        found = _to_plain_value(value)
        if found is _NOT_PLAIN:
            others.append(name)
        else:
            plain[name] = found
    return plain, tuple(others)


_NOT_PLAIN = object()


def _to_plain_value(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        items = [_to_plain_value(item) for item in value]
        return _NOT_PLAIN if any(item is _NOT_PLAIN for item in items) else items
    if isinstance(value, Mapping):
        pairs = {name: _to_plain_value(item) for name, item in value.items()}
        is_plain = all(isinstance(name, str) for name in pairs)
        return (
            pairs if is_plain and all(v is not _NOT_PLAIN for v in pairs.values()) else _NOT_PLAIN
        )
    if value is None or isinstance(value, (bool, str)):
        return value
    own = None if isinstance(value, (Tensor, np.ndarray)) and value.ndim else to_builtin(value)
    return own if isinstance(own, (int, float)) and math.isfinite(own) else _NOT_PLAIN
