"""Networks that torch compiles."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from threading import local
from typing import Any

import torch
from torch import nn
from typing_extensions import override

from dpnb.nn.torch_internals import function_modes, has_global_hooks


def plain_network(network: nn.Module) -> nn.Module:
    """The network that `torch.compile` has wrapped; any other is that itself."""
    # By its name: importing the class takes as long as importing all of torch.
    if type(network).__name__ == "OptimizedModule":
        return network.get_submodule("_orig_mod")
    return network


def is_compiled(network: nn.Module) -> bool:
    """Whether torch compiles the network, or any module within it."""
    if plain_network(network) is not network:
        return True
    return any(module._compiled_call_impl is not None for module in network.modules())


def forget_graphs(networks: Iterable[nn.Module]) -> None:
    """Let torch compile anew what it has compiled, if that is of any of `networks`.

    It does not look whether a module has got other hooks since.
    """
    if "torch._dynamo" in sys.modules and any(map(_has_graphs, networks)):
        torch.compiler.reset()


def _has_graphs(network: nn.Module) -> bool:
    """Whether torch compiles the network, any module within it or any of its methods."""
    methods = (value for value in vars(network).values() if callable(value))
    own = (vars(value) for value in methods if "__dict__" in dir(value))
    return is_compiled(network) or any("_torchdynamo_orig_callable" in one for one in own)


class _Stance(local):
    """How a thread computes.

    Attributes:
        uncompiled: how many contexts it is within that want nothing compiled.
    """

    uncompiled = 0


STANCE = _Stance()


@contextmanager
def compute_uncompiled() -> Iterator[None]:
    """Within, what is compiled computes as it was written; the compiler looks at nothing.

    It would note of functions that it has seen under a mode of dispatch that they cannot be
    compiled, and keep to that in later calls.
    """
    is_loaded = "torch._dynamo" in sys.modules
    STANCE.uncompiled += 1
    try:
        with torch.compiler.set_stance("force_eager") if is_loaded else nullcontext():
            yield
    finally:
        STANCE.uncompiled -= 1


def computes_as_written() -> bool:
    """Whether this thread wants code as it was written: for gradients, modes, or somebody else.

    A mode of functions, in which attention is replaced for example, does not reach into compiled
    code, and neither do hooks for all modules.
    """
    return (
        STANCE.uncompiled > 0
        or torch.is_grad_enabled()
        or bool(function_modes())
        or has_global_hooks()
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
        or torch.compiler.is_compiling()
    )


def call_uncompiled(
    call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """What `call` returns; the compiler ends its graph here, and looks at nothing of it."""
    if torch.compiler.is_compiling():
        return _leave_compiler(call, args, kwargs)
    if "torch._dynamo" in sys.modules:
        return _make_caller()(call, args, kwargs)
    return call(*args, **kwargs)


def _leave_compiler(
    call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    return torch.compiler.disable(call)(*args, **kwargs)


@cache
def _make_caller() -> Callable[..., Any]:
    return torch.compiler.disable(_call)  # type: ignore[no-any-return]


def _call(call: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return call(*args, **kwargs)


def end_graph() -> None:
    """Let the compiler end its graph here and begin another; elsewhere nothing happens."""


class OutsideGraphs(AbstractContextManager[None]):
    """A context whose beginning and end the compiler does not look at.

    Args:
        context: the context.
    """

    def __init__(self, context: AbstractContextManager[object]) -> None:
        self._context = context

    @override
    def __enter__(self) -> None:
        call_uncompiled(self._context.__enter__, (), {})

    @override
    def __exit__(self, *error: Any) -> bool | None:
        return bool(call_uncompiled(self._context.__exit__, error, {}))


REASON = (
    "a strategy of dpnb acts here; leave it out, switch it on for another network, or compile "
    "without fullgraph=True"
)
for function in (_leave_compiler, end_graph):
    # What `torch.compiler.disable` sets, which would import the compiler now.
    vars(function).update(_torchdynamo_disable=True, _torchdynamo_disable_msg=REASON)
