"""Networks and schedulers whose settings are the arguments of their constructor.

Code that comes with a checkpoint declares its classes so; ours declare a `Config`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar

from torch import nn
from typing_extensions import Self, override

from dpnb.loading.checkpoint_files import explain_settings_errors
from dpnb.loading.config import Config, Configured, Settings
from dpnb.models.model import Model


@dataclass(frozen=True, kw_only=True, eq=False)
class DeclaredConfig(Config):
    """Settings without a list of their names: attributes and a mapping all the same."""

    def __getattr__(self, name: str) -> Any:
        own: Mapping[str, Any] = vars(self).get("extra", {})
        if name not in own:
            raise AttributeError(f"there is no setting {name}; there are {', '.join(own)}.")
        return own[name]

    @property
    @override
    def unread(self) -> Mapping[str, Any]:
        """Nothing: which settings there are is not known."""
        return {}

    @override
    def with_changes(self, **changes: Any) -> Self:
        """A copy with `changes`, which count as given."""
        extra = {**self.extra, **changes}
        return replace(self, extra=extra, given=self.given | changes.keys())


def register_to_config(init: Callable[..., None]) -> Callable[..., None]:
    """Make the arguments of the constructor `init` the settings of what it builds."""
    signature = inspect.signature(init)

    @wraps(init)
    def constructor(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        settings = dict(list(bound.arguments.items())[1:])
        vars(self)["config"] = DeclaredConfig.parse(settings)
        init(self, *args, **kwargs)

    return constructor


class DeclaredSettings(Configured):
    """Something with `register_to_config` at its constructor."""

    config_class: ClassVar[type[Config]] = DeclaredConfig

    @classmethod
    @override
    def from_config(
        cls, config: Settings, return_unused_kwargs: bool = False, **changes: Any
    ) -> Any:
        """Build from settings; see `Configured.from_config`."""
        settings, changes = cls._settings_of(config, changes)
        parsed = DeclaredConfig.parse(settings).with_changes(**changes)
        signature = inspect.signature(cls.__init__).parameters
        known = {name: value for name, value in parsed.extra.items() if name in signature}
        built = cls(**known)
        built.config = built.config.with_changes(**parsed.extra)
        unused = {name: v for name, v in parsed.extra.items() if name not in known}
        return (built, unused) if return_unused_kwargs else built


class DeclaredModel(DeclaredSettings, Model):
    """A network with `register_to_config` at its constructor."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        vars(self).setdefault("config", DeclaredConfig())


class DeclaredScheduler(DeclaredSettings):
    """A scheduler with `register_to_config` at its constructor."""

    config_name: ClassVar[str] = "scheduler_config.json"
    order: ClassVar[int] = 1

    def __init__(self) -> None:
        vars(self).setdefault("config", DeclaredConfig())

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Build from the settings in `folder`."""
        settings = cls.load_config(folder)
        with explain_settings_errors(Path(folder) / cls.config_name):
            built: Self = cls.from_config(settings)
        return built

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the settings into `folder`."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.save_config(folder)


class Declares:
    """A class with settings of its own; it goes beside `DeclaredModel` or `DeclaredScheduler`."""
