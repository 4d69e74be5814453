"""Intercepting the calls of a network, by whichever of its public methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from dpnb.errors import StrategyError
from dpnb.strategies.undo import Undo

Method: TypeAlias = Callable[..., Any]
CallContext: TypeAlias = Callable[[str], AbstractContextManager[None]]


def intercept(network: nn.Module, within: CallContext, undo: Undo) -> None:
    """Let every call of a public method of `network` take place within `within(name)`.

    Args:
        network: see `replace_methods`.
        within: a method's name → the context that it runs in.
        undo: takes the inverse.
    """
    replace_methods(network, lambda method, name: _wrap_method(method, name, within), undo)


def replace_methods(network: nn.Module, wrap: Callable[[Method, str], Method], undo: Undo) -> None:
    """Put something around every public method of `network`.

    Args:
        network: its methods are those of the class that defines `forward` and of classes derived
            from that one.
        wrap: a method and its name → what takes its place.
        undo: takes the inverse.
    """
    own = vars(network)
    for name in public_methods_of(type(network)):
        if name in own:
            undo.callback(own.__setitem__, name, own[name])
        else:
            undo.callback(own.pop, name, None)
        own[name] = wrap(getattr(network, name), name)


def public_methods_of(kind: type[nn.Module]) -> Iterator[str]:
    """The names of the public methods that a class of networks adds to its base."""
    names: dict[str, None] = {}
    for base in kind.__mro__:
        public = (n for n, value in vars(base).items() if inspect.isfunction(value))
        names |= dict.fromkeys(name for name in public if not name.startswith("_"))
        if "forward" in vars(base):
            break
    return iter(names)


def _wrap_method(method: Method, name: str, within: CallContext) -> Method:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with within(name):
            result = method(*args, **kwargs)
        if torch.is_grad_enabled():
            _refuse_gradients(result)
        return result

    return call


def _refuse_gradients(result: object) -> None:
    """By the time of a backward pass the weights have gone from where it would look for them."""
    for leaf in tree_leaves(result):
        if isinstance(leaf, Tensor) and leaf.requires_grad:
            leaf.register_hook(_refuse)


def _refuse(_: Tensor) -> None:
    raise StrategyError(
        "No gradient passes through weights that are offloaded; switch offloading off before a "
        "backward pass."
    )
