"""Networks and schedulers whose settings are the arguments of their constructor.

Code that comes with a checkpoint declares its classes so; ours declare a `Config`.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter
from typing import Any, ClassVar

from torch import nn
from typing_extensions import override

from dpnb.loading.config import Config, Configured
from dpnb.models.model import Model
from dpnb.schedulers.storage import StoredScheduler


@dataclass(frozen=True, kw_only=True, eq=False)
class DeclaredConfig(Config):
    """Settings without a list of their names: attributes and a mapping all the same."""

    def __getattr__(self, name: str) -> Any:
        return super().__getattr__(name)  # type: ignore[misc]

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)})"

    @property
    @override
    def unread(self) -> Mapping[str, Any]:
        """Nothing: which settings there are is not known."""
        return {}

    @classmethod
    @override
    def _keep_value(cls, value: Any) -> Any:
        return copy.deepcopy(value) if isinstance(value, (list, dict)) else value


def register_to_config(init: Callable[..., None]) -> Callable[..., None]:
    """Make the arguments of the constructor `init` the settings of what it builds.

    Those that the class lists in `ignore_for_config` are none, nor are further ones by name. The
    constructor of a base may have settings of its own, which come to these. Names that begin with
    an underscore are settings alone, and no arguments.
    """
    signature = inspect.signature(init)
    names = [
        one.name
        for one in list(signature.parameters.values())[1:]
        if one.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
    ]

    @wraps(init)
    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        noted = {name: value for name, value in kwargs.items() if name.startswith("_")}
        kwargs = {name: value for name, value in kwargs.items() if name not in noted}
        bound = signature.bind(self, *args, **kwargs)
        given = {*bound.arguments, *noted}
        bound.apply_defaults()
        ignored = self.ignore_for_config if "ignore_for_config" in dir(type(self)) else ()
        own = {name: bound.arguments[name] for name in names if name not in ignored}
        settings = noted | {name: DeclaredConfig._keep_value(one) for name, one in own.items()}
        outer = vars(self).get("config", DeclaredConfig())
        vars(self)["config"] = outer.with_unknown(settings, given & settings.keys())
        init(self, *args, **kwargs)

    return constructor


class DeclaredSettings(Configured):
    """Something with `register_to_config` at its constructor."""

    config_class: ClassVar[type[Config]] = DeclaredConfig


class DeclaredModel(DeclaredSettings, Model):
    """A network with `register_to_config` at its constructor."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        vars(self).setdefault("config", DeclaredConfig())


class DeclaredScheduler(DeclaredSettings, StoredScheduler):
    """A scheduler with `register_to_config` at its constructor."""

    order: ClassVar[int] = 1

    def __init__(self) -> None:
        vars(self).setdefault("config", DeclaredConfig())


class Declares:
    """A class with settings of its own; it goes beside `DeclaredModel` or `DeclaredScheduler`."""
