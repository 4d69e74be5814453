"""Telling the code of other pipelines where networks compute whose weights wait elsewhere."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import torch
from torch import nn

from dpnb.strategies.undo import Undo

ATTRIBUTE = "_hf_hook"
"""Where accelerate keeps its hook of a module, which diffusers asks before it looks at weights."""


@dataclass(frozen=True)
class ExecutionDevice:
    """What diffusers asks of a hook of accelerate: where its module computes.

    Attributes:
        execution_device: the device.
    """

    execution_device: torch.device

    def detach_hook(self, module: nn.Module) -> nn.Module:
        """Nothing is to be taken off."""
        return module


def tell_execution_device(networks: Iterable[nn.Module], device: torch.device, undo: Undo) -> None:
    """Let whoever asks `networks` for their device hear `device`, not where a weight waits.

    Args:
        networks: one that has a hook of accelerate keeps that.
        device: where they compute.
        undo: takes the inverse.
    """
    for network in networks:
        own = vars(network)
        if ATTRIBUTE not in own:
            undo.callback(own.pop, ATTRIBUTE, None)
            own[ATTRIBUTE] = ExecutionDevice(device)
        kind = type(network)
        if _looks_at_weights(kind):
            undo.callback(setattr, network, "__class__", kind)
            network.__class__ = _make_located_class(cast(Hashable, kind))


def _looks_at_weights(kind: type[nn.Module]) -> bool:
    """Whether a class of another package has a `device` that it computes."""
    is_ours = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
    return not is_ours and isinstance(inspect.getattr_static(kind, "device", None), property)


@cache
def _make_located_class(kind: Any) -> Any:
    """A class like `kind`, derived from it, whose `device` is what its hook says.

    A property of a class stands before any attribute of an object, so the object needs another one.
    """

    def locate(self: nn.Module) -> torch.device:
        hook = vars(self).get(ATTRIBUTE)  # none in what has been made of the network's class since
        found: torch.device = kind.device.fget(self) if hook is None else hook.execution_device
        return found

    members = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__reduce_ex__": _reduce_to(kind),
        "device": property(locate, doc=kind.device.__doc__),
    }
    return type(kind)(kind.__name__, (kind,), members)


def _reduce_to(kind: Any) -> Callable[[Any, Any], Any]:
    """Copies and pickles are of the class itself."""

    def reduce(self: Any, protocol: Any) -> Any:
        make, args, *rest = kind.__reduce_ex__(self, protocol)
        return make, tuple(kind if one is type(self) else one for one in args), *rest

    return reduce
