"""Refusing gradients through weights that have gone by the time of a backward pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only
from typing_extensions import override

from dpnb.errors import StrategyError


def refuse_gradients(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of an offloaded network, through whose calls no gradient passes.

    Neither back from its results, nor from its inside to its inputs.
    """

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return method(*args, **kwargs)
        args, kwargs = tree_map_only(Tensor, _bar, (args, kwargs))
        result = method(*args, **kwargs)
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.requires_grad:
                leaf.register_hook(_refuse)
        return result

    return call


class _Bar(torch.autograd.Function):
    """The same tensor, through which no gradient comes back."""

    @staticmethod
    @override
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    @override
    def backward(ctx: Any, *grads: Any) -> Any:
        _refuse(*grads)


def _bar(tensor: Tensor) -> Tensor:
    bar: Any = _Bar
    return cast(Tensor, bar.apply(tensor)) if tensor.requires_grad else tensor


def _refuse(*_: Tensor) -> NoReturn:
    raise StrategyError(
        "No gradient passes through weights that are offloaded; switch offloading off before a "
        "backward pass."
    )
