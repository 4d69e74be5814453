"""Intercepting the calls of a network, by whichever of its public methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial, update_wrapper, wraps
from threading import local
from typing import Any, NoReturn, TypeAlias

import torch
from torch import nn
from typing_extensions import override

from dpnb.nn.compiled import OutsideGraphs, end_graph, plain_network
from dpnb.strategies.undo import Undo, refuse_copy

Method: TypeAlias = Callable[..., Any]

FORWARD = ("forward", "_compiled_call_impl")
"""Where a module has what a call of it computes."""

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
    thread = Within()

    def wrap(method: Method, _: str) -> Method:
        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if thread.is_within:
                return method(*args, **kwargs)
            thread.is_within = True
            try:
                with OutsideGraphs(context):
                    return method(*args, **kwargs)
            finally:
                thread.is_within = False

        return call

    replace_methods(network, wrap, undo)


class Within(local):
    """Whether a thread is within something.

    Attributes:
        is_within: that, of the thread that asks.
    """

    is_within = False


def replace_methods(network: nn.Module, wrap: Callable[[Method, str], Method], undo: Undo) -> None:
    """Put something around every public method of `network`.

    Args:
        network: see `public_methods_of`; of a compiled network, also those of what it compiles.
        wrap: a method and its name → what takes its place.
        undo: takes the inverse.
    """
    for owner, name in _methods_of(network):
        replace_method(owner, name, partial(_wrap_named, wrap, name), undo)


def replace_forward(network: nn.Module, wrap: Callable[[Method], Method], undo: Undo) -> None:
    """Put something around what a call of `network` computes.

    Args:
        network: it may be compiled.
        wrap: the method → what takes its place.
        undo: takes the inverse.
    """
    for owner, name in _methods_of(network):
        if name in FORWARD:
            replace_method(owner, name, wrap, undo)


def replace_method(
    module: nn.Module, name: str, wrap: Callable[[Method], Method], undo: Undo
) -> None:
    """Put something around one method of a module.

    Args:
        module: whose method it is.
        name: of the method.
        wrap: the method → what takes its place.
        undo: takes the inverse.
    """
    own = vars(module)
    if name in own:
        undo.callback(own.__setitem__, name, own[name])
    else:
        undo.callback(own.pop, name, None)
    own[name] = Replacement(wrap(getattr(module, name)))


class Replacement:
    """What stands at a module for its method; a copy of that would compute with the original.

    The compiler reads it apart from what calls it.
    """

    def __init__(self, method: Method) -> None:
        update_wrapper(self, method)
        self._method = method

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call what stands there."""
        if torch.compiler.is_compiling():
            end_graph()
        return self._method(*args, **kwargs)

    @override
    def __reduce__(self) -> NoReturn:
        refuse_copy()


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
        if name != "forward":
            yield plain, name
        elif plain._compiled_call_impl is not None:
            yield plain, "_compiled_call_impl"  # which computes `forward`
        else:
            yield network, name


def _wrap_named(wrap: Callable[[Method, str], Method], name: str, method: Method) -> Method:
    return wrap(method, name)


def _wrap_method(method: Method, name: str, within: CallContext) -> Method:
    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with OutsideGraphs(within(name)):
            return method(*args, **kwargs)

    return call
