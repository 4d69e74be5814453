"""The class of an attached object: its own class, whose calls are heard.

Python looks for `__call__` at the class, so an object that is to be heard needs another one. It has
the same name, is derived from the former, and goes with `detach()`.
"""

from __future__ import annotations

import copy
import copyreg
import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any, Protocol

import torch

from dpnb.pipelines.attached.attached_run import AttachError

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

    def copy_in_use(self, pipe: Any) -> Any:
        """The object itself; a deep copy of it while anything is on, or it is in a run."""
        ...

    def forget_copies(self, copied: Any) -> None:
        """Take away from a copy of the object what tells of the present run."""
        ...

    def change_by(self, name: str, call: Callable[[], Any]) -> Any:
        """What `call`, the method of this name, returns; it changes components."""
        ...


WITHOUT_STRATEGIES = ("to", "save_pretrained", "push_to_hub")
"""Methods that are about the weights as they are when nothing is switched on."""

CHANGING = ("disable_", "enable_", "fuse_", "load_", "unfuse_", "unload_")
"""How the names of methods begin that change components as they are when nothing is on."""

CHANGING_TOO = ("delete_adapters", "register_modules", "set_adapters", "set_ip_adapter_scale")

OFFLOADING = {
    "enable_group_offload": "SequentialOffload",
    "enable_model_cpu_offload": "ModelOffload",
    "enable_sequential_cpu_offload": "SequentialOffload",
}
"""Methods that let somebody else look after the weights, and what there is in their place."""

DEVICES = ("_execution_device", "device")
"""Properties that say where a run computes."""


def make_heard_class(kind: type, studio: Studio) -> type:
    """A class like `kind`, derived from it, whose calls go through `studio`.

    Raises:
        AttachError: nothing can be derived from it.
    """
    members: dict[str, Any] = {
        STUDIO: studio,
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__call__": _heard_call(kind, studio),
        "__setattr__": _heard_assignment(kind, studio),
        "__new__": _make_plain(kind),
        "__reduce_ex__": _reduce_to(kind, studio),
        **_copy_methods(kind, studio),
    }
    known = dir(kind)
    for name in WITHOUT_STRATEGIES:
        if name in known:
            members[name] = _without_strategies(kind, name, studio)
    for name in filter(_is_changing, known):
        if inspect.isfunction(inspect.getattr_static(kind, name)):
            members[name] = _changing(kind, name, studio)
    for name in DEVICES:
        if name in known:
            members[name] = _located(kind, name, studio)
    try:
        return type(kind)(kind.__name__, (kind,), members)
    except TypeError as error:
        raise AttachError(
            f"{kind.__name__} lets no class be derived from it ({error}), by which its calls would "
            "be heard; attach a pipeline of another class."
        ) from error


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


def _make_plain(kind: Any) -> Callable[..., Any]:
    """Whoever makes an object by the class of an attached one gets a plain one."""

    def make(_: type, *args: Any, **kwargs: Any) -> Any:
        return kind(*args, **kwargs)

    return make


def _copy_methods(kind: Any, studio: Studio) -> dict[str, Any]:
    """Copies are of the former class, and of the object as it is with nothing switched on."""
    if not {"__copy__", "__deepcopy__", "__setstate__"}.isdisjoint(dir(kind)):
        return {}  # it copies itself

    def make(self: Any, copied: Callable[[Any], Any], made: Any) -> Any:
        state = kind.__reduce_ex__(self, 4)[2] or {}
        own, slots = copied(state) if isinstance(state, tuple) else (copied(state), {})
        vars(made).update(own or {})
        for name, value in slots.items():
            object.__setattr__(made, name, value)
        return made

    def copy_plain(self: Any) -> Any:
        return studio.call_without_strategies(lambda: make(self, copy.copy, make_bare(kind)))

    def copy_deep(self: Any, memo: dict[int, Any]) -> Any:
        made = memo[id(self)] = make_bare(kind)
        call = partial(make, self, lambda state: copy.deepcopy(state, memo), made)
        studio.call_without_strategies(call)
        studio.forget_copies(made)
        return made

    return {"__copy__": copy_plain, "__deepcopy__": copy_deep}


def _reduce_to(kind: Any, studio: Studio) -> Callable[[Any, Any], Any]:
    """Pickles are of the former class, and of the object as it is with nothing switched on."""

    def reduce(self: Any, protocol: Any) -> Any:
        plain = studio.copy_in_use(self)
        reduced: Any = kind.__reduce_ex__(plain, protocol)
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


def _is_changing(name: str) -> bool:
    return name.startswith(CHANGING) or name in CHANGING_TOO


def _changing(kind: type, name: str, studio: Studio) -> Callable[..., Any]:
    method = getattr(kind, name)

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if name in OFFLOADING:
            raise AttachError(
                f"While this {kind.__name__} is attached, dpnb looks after its weights; switch "
                f"{OFFLOADING[name]}() on in place of {name}(), or call it after detach()."
            )
        return studio.change_by(name, lambda: method(self, *args, **kwargs))

    return call


def _located(kind: type, name: str, studio: Studio) -> property:
    own: Any = getattr(kind, name)
    return property(lambda self: studio.locate(lambda: own.fget(self)), doc=own.__doc__)
