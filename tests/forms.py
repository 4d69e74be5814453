"""The forms in which numpy and torch hold a number, or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


def _numpy(value: Any) -> Any:
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, (int, float)):
        return np.int64(value) if isinstance(value, int) else np.float64(value)
    return np.array(value)


def _narrow_numpy(value: Any) -> Any:
    if isinstance(value, bool):
        return np.array(value)
    kind = np.int32 if isinstance(value, int) else np.float32
    if isinstance(value, (int, float)):
        return kind(value)
    return [_narrow_numpy(entry) for entry in value]


def _array(value: Any) -> Any:
    return np.array(value)


def _tensor(value: Any) -> Any:
    return torch.tensor(value)


def _tensors(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [torch.tensor(entry) for entry in value]
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None)


FORMS: dict[str, Callable[[Any], Any]] = {
    "numpy": _numpy,
    "narrow numpy": _narrow_numpy,
    "arrays": _array,
    "tensors": _tensor,
    "lists of tensors": _tensors,
}
"""What makes each form of plain numbers; float32 stands for the decimal that was written."""

NO_NUMBERS: dict[str, Any] = {
    "text": "ten",
    "truth": True,
    "numpy's truth": np.True_,
    "complex": 2j,
    "complex tensor": torch.tensor(2j),
    "nan": float("nan"),
    "infinity": np.float32("inf"),
    "list": [4],
    "array": np.array([4]),
    "dictionary": {"a": 1},
}
"""What is no number at all, or no finite one."""
