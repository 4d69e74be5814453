"""Switches counting off while a store on the host is made, which no run needs on its device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_IS_COUNTING: ContextVar[bool] = ContextVar("is_counting", default=True)


@contextmanager
def no_counting() -> Iterator[None]:
    """No `TensorMeter` counts the tensors that are made within."""
    token = _IS_COUNTING.set(False)
    try:
        yield
    finally:
        _IS_COUNTING.reset(token)


def is_counting() -> bool:
    """Whether a `TensorMeter` counts the tensors that are made now."""
    return _IS_COUNTING.get()
