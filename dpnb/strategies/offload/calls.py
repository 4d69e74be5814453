"""Intercepting the calls of a network, by whichever of its public methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import wraps
from threading import local
from typing import Any, NoReturn, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only
from typing_extensions import override

from dpnb.errors import StrategyError
from dpnb.nn.compiled import plain_network
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


def run_calls_within(
    network: nn.Module, context: AbstractContextManager[object], undo: Undo
) -> None:
    """Let every call of a public method of `network` take place within `context`.

    Args:
        network: see `replace_methods`.
        context: may be entered again, and by several threads; a call within a call of the same
            thread does not enter it again.
        undo: takes the inverse.
    """
    thread = _Thread()

    def wrap(method: Method, _: str) -> Method:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if thread.is_within:
                return method(*args, **kwargs)
            thread.is_within = True
            try:
                with context:
                    return method(*args, **kwargs)
            finally:
                thread.is_within = False

        return call

    replace_methods(network, wrap, undo)


class _Thread(local):
    """What a thread is doing."""

    is_within = False


def replace_methods(network: nn.Module, wrap: Callable[[Method, str], Method], undo: Undo) -> None:
    """Put something around every public method of `network`.

    Args:
        network: see `public_methods_of`; of a compiled network, also those of what it compiles.
        wrap: a method and its name → what takes its place.
        undo: takes the inverse.
    """
    for owner, name in _methods_of(network):
        own = vars(owner)
        if name in own:
            undo.callback(own.__setitem__, name, own[name])
        else:
            undo.callback(own.pop, name, None)
        own[name] = wrap(getattr(owner, name), name)


def public_methods_of(kind: type[nn.Module]) -> Iterator[str]:
    """The names of the public methods by which a class of networks may be called.

    These are the methods of all classes down to the first that defines `forward`, and `generate`.
    """
    bases = kind.__mro__[: kind.__mro__.index(nn.Module)]
    forwarding = [place for place, base in enumerate(bases) if "forward" in vars(base)]
    own = bases[: forwarding[-1] + 1] if forwarding else bases
    names: dict[str, None] = {}
    for base in own:
        public = (n for n, value in vars(base).items() if inspect.isfunction(value))
        names |= dict.fromkeys(name for name in public if not name.startswith("_"))
    if any(inspect.isfunction(vars(base).get("generate")) for base in kind.__mro__):
        names["generate"] = None
    return iter(names)


def _methods_of(network: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    plain = plain_network(network)
    for name in public_methods_of(type(plain)):
        is_compiled = name == "forward" and plain is not network
        yield (network if is_compiled else plain), name


def _wrap_method(method: Method, name: str, within: CallContext) -> Method:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        records = torch.is_grad_enabled()
        if records:
            args, kwargs = tree_map_only(Tensor, _bar_gradients, (args, kwargs))
        with within(name):
            result = method(*args, **kwargs)
        if records:
            _refuse_gradients(result)
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


def _bar_gradients(tensor: Tensor) -> Tensor:
    """An input, for a network from whose inside somebody may go back to it."""
    barred: Any = _Bar
    return cast(Tensor, barred.apply(tensor)) if tensor.requires_grad else tensor


def _refuse_gradients(result: object) -> None:
    """By the time of a backward pass the weights have gone from where it would look for them."""
    for leaf in tree_leaves(result):
        if isinstance(leaf, Tensor) and leaf.requires_grad:
            leaf.register_hook(_refuse)


def _refuse(*_: Tensor) -> NoReturn:
    raise StrategyError(
        "No gradient passes through weights that are offloaded; switch offloading off before a "
        "backward pass."
    )
