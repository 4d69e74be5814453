"""Bringing what an offloaded network is called with to where it computes."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only


def bring_inputs(method: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """A method whose tensors come to `device` where they are elsewhere.

    Code of other packages asks a network for its device, which is that of a weight, and so prepares
    its inputs on the host where weights wait there.
    """

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if any(_is_away(value, device) for value in (*args, *kwargs.values())):
            args, kwargs = tree_map_only(Tensor, lambda t: t.to(device), (args, kwargs))
        return method(*args, **kwargs)

    return call


def _is_away(value: Any, device: torch.device) -> bool:
    """Whether a tensor, or one of those that a list or a dictionary holds, is elsewhere."""
    if isinstance(value, Tensor):
        return value.device != device
    if isinstance(value, (list, tuple)):
        return any(_is_away(item, device) for item in value)
    return isinstance(value, dict) and any(_is_away(item, device) for item in value.values())
