"""What a pipeline that was not written here is made of, and what its class declares."""

from __future__ import annotations

import inspect
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from dpnb.pipelines.attached.heard_class import original_class
from dpnb.pipelines.attached.roles import is_scheduler

PLAIN = (str, int, float, bool, list, tuple, dict)
"""What is a setting of a pipeline, and no component."""


def find_parts(pipe: Any) -> dict[str, Any]:
    """The components of any pipeline: what its constructor names, its networks and schedulers."""
    own: dict[str, Any] = vars(pipe)
    named = [name for name in _constructor_names(original_class(pipe)) if name in own]
    found = [name for name, value in own.items() if is_network(value) or is_scheduler(value)]
    parts: dict[str, Any] = {}
    for name in dict.fromkeys((*named, *found)):
        value = own[name]
        if isinstance(value, (list, tuple)) and any(map(is_network, value)):
            parts |= {f"{name}[{number}]": one for number, one in enumerate(value)}
        elif not isinstance(value, PLAIN):
            parts[name] = value
    return parts


@cache
def _constructor_names(kind: Any) -> tuple[str, ...]:
    return tuple(inspect.signature(kind.__init__).parameters)


def declared(pipe: Any, name: str) -> Any:
    """What the class of a pipeline declares by this name; `None` where it does not."""
    return next((vars(base)[name] for base in type(pipe).__mro__ if name in vars(base)), None)


def find_name(pipe: Any) -> str | None:
    """What a pipeline says that it was loaded from."""
    config = vars(pipe).get("_internal_dict") or {}
    name = config.get("_name_or_path")
    return str(name) if isinstance(name, (str, Path)) and name else None


def is_network(value: Any) -> bool:
    """Whether it is one."""
    return isinstance(value, nn.Module)


def explain_no_pipeline(thing: Any) -> str:
    """Why an object is none, and what to give in its place, as a sentence."""
    name = type(thing).__name__
    if isinstance(thing, (str, Path)):
        return (
            f"{str(thing)!r} is no pipeline, but may be the name of one; give what "
            "DiffusionPipeline.from_pretrained returns for it."
        )
    held = vars(thing) if "__dict__" in dir(thing) and not is_network(thing) else {}
    for attribute, value in held.items():
        if _is_pipeline(value) and any(map(is_network, find_parts(value).values())):
            return (
                f"{name} is no pipeline of its own; give the {original_class(value).__name__} "
                f"that it has as .{attribute}."
            )
    return (
        f"{name} is no pipeline: it is not called to draw, or has no networks of torch's; give "
        "what DiffusionPipeline.from_pretrained returns."
    )


def holders_of(pipe: Any, part: Any) -> list[tuple[dict[str, Any], str]]:
    """Where a pipeline, or another that it is made of, has `part`: attributes, and a name."""
    inner = [value for value in vars(pipe).values() if _is_pipeline(value)]
    return [
        (vars(holder), name)
        for holder in (pipe, *inner)
        for name, value in vars(holder).items()
        if value is part
    ]


def _is_pipeline(value: Any) -> bool:
    return callable(value) and not is_network(value) and "__dict__" in dir(value)
