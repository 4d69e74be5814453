"""Memory of the host that serves as a store: no part of what a run needs on its device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_APART: ContextVar[bool] = ContextVar("apart", default=False)


@contextmanager
def apart() -> Iterator[None]:
    """No `TensorMeter` counts the tensors that are made within."""
    token = _APART.set(True)
    try:
        yield
    finally:
        _APART.reset(token)


def is_apart() -> bool:
    """Whether tensors made now are a store's."""
    return _APART.get()
