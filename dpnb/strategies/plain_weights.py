"""Methods of networks that are about their plain weights: nothing is on while they work."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import update_wrapper
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn

from dpnb.models.model import Model
from dpnb.nn.compiled import plain_network
from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.undo import Undo

SAVE = "save_pretrained"
"""What packages call the method that writes a network into a folder."""

MOVE = "to"
"""The method that moves a network, or casts it."""

REWRITING = ("bfloat16", "double", "float", "half", "load_state_dict", "type")
"""The others that give weights new values, or another dtype."""


def keep_plain(networks: Iterable[nn.Module], undo: Undo) -> None:
    """Let the own methods of networks save, load and cast plain weights, whatever is on.

    What a run casts in its middle, it casts as it is there.

    Args:
        networks: those of dpnb save plain weights by themselves.
        undo: takes the inverse.
    """
    for network in networks:
        for owner in dict.fromkeys((plain_network(network), network)):
            for name in _methods_of(owner):
                undo.callback(_give_back, owner, name, vars(owner).get(name))
                vars(owner)[name] = _find_or_make(owner, name, network)


def _methods_of(network: nn.Module) -> Iterator[str]:
    yield MOVE
    yield from REWRITING
    if SAVE in dir(network) and not isinstance(network, Model):
        yield SAVE


def _give_back(network: nn.Module, name: str, former: Any) -> None:
    vars(network).pop(name, None)
    if former is not None:
        vars(network)[name] = former


def _find_or_make(owner: nn.Module, name: str, network: nn.Module) -> Callable[..., Any]:
    """What stands for a method of `owner`: the same object each time that it is asked for.

    Args:
        owner: the network, or what is compiled of it.
        name: of the method.
        network: at which strategies are on.
    """
    known = attachment_of(network).plain_methods.setdefault(owner, {})
    former = vars(owner).get(name)
    if name not in known or known[name][0] is not former:
        known[name] = former, _suspend_in(owner, name, network)
    made: Callable[..., Any] = known[name][1]
    return made


def _suspend_in(owner: nn.Module, name: str, network: nn.Module) -> Callable[..., Any]:
    kind, former = type(owner), vars(owner).get(name)
    # What networks keep of themselves would keep them.
    found, found_network = ref(owner), ref(network)

    def call(*args: Any, **kwargs: Any) -> Any:
        own, attachment = found(), attachment_of(found_network())
        if name == MOVE and (attachment.is_in_run or not _is_cast(args, kwargs)):
            method: Any = getattr(kind, name).__get__(own) if former is None else former
            return method(*args, **kwargs)
        with attachment.suspended():
            return getattr(own, name)(*args, **kwargs)

    method: Any = getattr(owner, name)
    update_wrapper(call, method, ("__name__", "__qualname__", "__doc__"))
    del vars(call)["__wrapped__"]
    vars(call)["__signature__"] = inspect.signature(method)
    return call


def _is_cast(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    return any(isinstance(value, (torch.dtype, Tensor)) for value in (*args, *kwargs.values()))
