"""The class of an attached object: its own class, whose calls are heard.

Python looks for `__call__` at the class, so an object that is to be heard needs another one. It has
the same name, is derived from the former, and goes with `detach()`.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

import torch

STUDIO = "dpnb_studio"
"""Where a class that was made here keeps whom its calls are told."""


class Studio(Protocol):
    """An attached pipeline, as the class of its object sees it."""

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the pipeline, and tell listeners of it."""
        ...

    def replace_attribute(self, name: str, value: Any, assign: Callable[[], None]) -> None:
        """Let `assign` set an attribute of the object."""
        ...

    def locate(self, own: Callable[[], torch.device]) -> torch.device:
        """Where runs compute; `own` is where the pipeline says that it is."""
        ...

    def call_without_strategies(self, call: Callable[[], Any]) -> Any:
        """What `call` returns, made while nothing is switched on."""
        ...


WITHOUT_STRATEGIES = ("to", "save_pretrained", "push_to_hub")
"""Methods that are about the weights as they are when nothing is switched on."""

DEVICES = ("_execution_device", "device")
"""Properties that say where a run computes."""


def make_heard_class(kind: type, studio: Studio) -> type:
    """A class like `kind`, derived from it, whose calls go through `studio`."""
    members: dict[str, Any] = {
        STUDIO: studio,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__call__": _heard_call(kind, studio),
        "__setattr__": _heard_assignment(kind, studio),
        "__reduce_ex__": _reduce_to(kind),
    }
    known = dir(kind)
    for name in WITHOUT_STRATEGIES:
        if name in known:
            members[name] = _without_strategies(kind, name, studio)
    for name in DEVICES:
        if name in known:
            members[name] = _located(kind, name, studio)
    return type(kind)(kind.__name__, (kind,), members)


def studio_of(pipe: object) -> Any:
    """Whom an object's calls are told; `None` where it is not attached."""
    return vars(type(pipe)).get(STUDIO)


def original_class(pipe: object) -> type:
    """The class of an object, whether it is attached or not."""
    return type(pipe).__mro__[1] if studio_of(pipe) is not None else type(pipe)


def _heard_call(kind: type, studio: Studio) -> Callable[..., Any]:
    method: Any = kind.__call__

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return studio.run(args, kwargs)

    return call


def _heard_assignment(kind: Any, studio: Studio) -> Callable[[Any, str, Any], None]:
    def assign(self: Any, name: str, value: Any) -> None:
        studio.replace_attribute(name, value, lambda: kind.__setattr__(self, name, value))

    return assign


def _reduce_to(kind: Any) -> Callable[[Any, Any], Any]:
    """Copies and pickles are of the former class, and not attached."""

    def reduce(self: Any, protocol: Any) -> Any:
        reduced: Any = kind.__reduce_ex__(self, protocol)
        if isinstance(reduced, str):
            return reduced
        make, args, *rest = reduced
        # Pickle takes that one for objects of the present class alone.
        make = make_bare if make is vars(copyreg)["__newobj__"] else make
        return make, tuple(kind if one is type(self) else one for one in args), *rest

    return reduce


def make_bare(kind: Any, *args: Any) -> Any:
    """An object of a class whose constructor has not run."""
    return kind.__new__(kind, *args)


def _without_strategies(kind: type, name: str, studio: Studio) -> Callable[..., Any]:
    method = getattr(kind, name)

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return studio.call_without_strategies(lambda: method(self, *args, **kwargs))

    return call


def _located(kind: type, name: str, studio: Studio) -> property:
    own: Any = getattr(kind, name)
    return property(lambda self: studio.locate(lambda: own.fget(self)), doc=own.__doc__)
