"""Constructors that take any settings say which ones, to editors and to `inspect.signature`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from inspect import Parameter
from types import FunctionType
from typing import Any

TAKES_ALL = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


def declare_settings(kind: type, config_class: Any) -> None:
    """Give the constructor of a class the signature that its settings make.

    One that takes other arguments, in a class derived from ours, stays as it is.

    Args:
        kind: the class.
        config_class: the dataclass of its settings.
    """
    constructor: Any = inspect.getattr_static(kind, "__init__")
    if not config_class.names() or not _takes_all(constructor):
        return
    if "__init__" not in vars(kind):
        constructor = _pass_on(kind)
        setattr(kind, "__init__", constructor)  # noqa: B010
    constructor.__signature__ = _signature(config_class)


def _takes_all(constructor: object) -> bool:
    """Whether it takes any arguments, and speaks for no other function."""
    if not isinstance(constructor, FunctionType) or hasattr(constructor, "__wrapped__"):
        return False
    code = constructor.__code__
    return code.co_flags & TAKES_ALL == TAKES_ALL and code.co_argcount == 1


def _pass_on(kind: type[Any]) -> Callable[..., None]:
    """A constructor of this class that leaves everything to the next one."""

    def __init__(self: Any, *values: Any, **settings: Any) -> None:  # noqa: N807
        super(kind, self).__init__(*values, **settings)

    __init__.__qualname__ = f"{kind.__qualname__}.__init__"
    __init__.__module__ = kind.__module__
    return __init__


def _signature(config_class: Any) -> inspect.Signature:
    declared = {setting.name: setting for setting in fields(config_class)}
    placed = config_class.positional()
    parameters = [_parameter(declared[name], placed) for name in config_class.names()]
    by_name = [one for one in parameters if one.kind is Parameter.KEYWORD_ONLY]
    by_place = [one for one in parameters if one.kind is not Parameter.KEYWORD_ONLY]
    by_place.sort(key=lambda one: placed.index(one.name))
    own = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
    return inspect.Signature([own, *by_place, *by_name])


def _parameter(setting: Field[Any], placed: tuple[str, ...]) -> Parameter:
    default = setting.default
    if setting.default_factory is not MISSING:
        default = setting.default_factory()
    return Parameter(
        setting.name,
        Parameter.POSITIONAL_OR_KEYWORD if setting.name in placed else Parameter.KEYWORD_ONLY,
        default=Parameter.empty if default is MISSING else default,
        annotation=setting.type,
    )
