"""The frozen configurations that stand beside weights as JSON, and the objects that carry them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeAlias

import torch
from typing_extensions import Self, override

from dpnb import files
from dpnb.atomic import write_text
from dpnb.errors import (
    CheckpointError,
    DpnbError,
    FileError,
    MissingFileError,
    SettingsError,
)
from dpnb.loading.checkpoint_paths import check_inside
from dpnb.validation import Range, hints_of, validate

logger = logging.getLogger(__name__)

FORMAT_VERSION = "0.42.1"
"""The diffusers release whose files we write; diffusers parses it when it reads them."""

Width: TypeAlias = Annotated[int, Range(1, 1 << 17)]
"""Channels, heads, groups or entries: what makes a layer large."""

Count: TypeAlias = Annotated[int, Range(0, 1_000)]
"""Layers or blocks: what makes a network long."""

Side: TypeAlias = Annotated[int, Range(1, 1 << 14)]
"""Of a picture or of latents."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Config(Mapping[str, Any]):
    """Settings of one object: attributes, a mapping, and JSON, all the same keys.

    Subclasses declare a field per key. Keys of a file that the class does not know are kept in
    `extra` and written back, so that another class (or program) still finds them.
    """

    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)
    given: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration that `settings` describe; lists become tuples.

        From another `Config` only what was given to it is taken, so that this class applies its
        own defaults to the rest.

        Raises:
            ValueError: a setting is not of the type that its field declares.
        """
        if isinstance(settings, Config):
            settings = {name: settings[name] for name in settings.given}
        key = "_use_default_values"
        defaulted = validate(tuple[str, ...] | None, settings.get(key), key) or ()
        own = {name: v for name, v in settings.items() if not name.startswith("_")}
        own = {name: v for name, v in own.items() if name not in defaulted}
        known = {name: cls._validate(name, own[name]) for name in cls.names() if name in own}
        extra = {name: _freeze(value) for name, value in own.items() if name not in known}
        return cls(**known, extra=extra, given=frozenset(known) | frozenset(extra))

    @classmethod
    def _validate(cls, name: str, value: Any) -> Any:
        """`value` as the field `name` declares it; files have null, too, where something is off."""
        kind = hints_of(cls)[name]
        return None if value is None and kind is bool else validate(kind, value, name)

    @classmethod
    @cache
    def names(cls) -> tuple[str, ...]:
        """The keys that this class knows, in declaration order."""
        return tuple(f.name for f in fields(cls) if f.name not in ("extra", "given"))

    def with_changes(self, **changes: Any) -> Self:
        """A copy with `changes`, which count as given."""
        return replace(self, **changes, given=self.given | changes.keys())

    @override
    def __getitem__(self, key: str) -> Any:
        if key in self.names():
            return getattr(self, key)
        return self.extra[key]

    @override
    def __iter__(self) -> Iterator[str]:
        yield from self.names()
        yield from self.extra

    @override
    def __len__(self) -> int:
        return len(self.names()) + len(self.extra)

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)

    @override
    def __hash__(self) -> int:
        return hash((type(self), len(self)))


class Configured:
    """An object described by a `Config`: a model or a scheduler."""

    config_class: ClassVar[type[Config]]
    config_name: ClassVar[str]
    config: Any

    def __init__(self, **settings: Any) -> None:
        config = self.config_class.parse(settings)
        if config.extra:
            raise TypeError(
                f"{type(self).__name__} has no setting {', '.join(sorted(config.extra))}; "
                f"it knows {', '.join(config.names())}."
            )
        self.config = config

    @classmethod
    def from_config(cls, config: Mapping[str, Any], **changes: Any) -> Self:
        """Build from the settings of a file or of a related class; `changes` override them."""
        parsed = cls.config_class.parse(config)
        if changes:
            merged = {name: parsed[name] for name in parsed.given} | changes
            parsed = cls.config_class.parse(merged)
        built = cls(**{name: parsed[name] for name in parsed.given if name not in parsed.extra})
        built.config = parsed
        return built

    @classmethod
    def load_config(cls, folder: str | Path) -> dict[str, Any]:
        """The settings in this class's file in `folder`, as plain JSON values."""
        return read_checkpoint_json(Path(folder) / cls.config_name)

    def save_config(self, folder: str | Path) -> None:
        """Write this class's file into `folder`, in the form that diffusers reads."""
        write_json(Path(folder) / self.config_name, entries(type(self).__name__, self.config))

    def register_to_config(self, **changes: Any) -> None:
        """Record changed settings; what was built from the former ones stays."""
        self.config = self.config.with_changes(**changes)

    @property
    def _internal_dict(self) -> Any:
        """The settings, by the name under which older pipelines replace some of them."""
        return self.config

    @_internal_dict.setter
    def _internal_dict(self, settings: Mapping[str, Any]) -> None:
        own = {name: value for name, value in settings.items() if name in self.config.names()}
        self.register_to_config(**{k: v for k, v in own.items() if self.config[k] != v})


def entries(class_name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as a configuration file holds them, with the name of their class."""
    return {**settings, "_class_name": class_name, "_diffusers_version": FORMAT_VERSION}


def report_unknown(class_name: str, config: Config) -> None:
    """Say in one line which keys of a file nobody here reads."""
    if config.extra:
        names = ", ".join(sorted(config.extra))
        logger.warning("%s does not use these settings and keeps them: %s.", class_name, names)


def read_checkpoint_json(path: Path) -> dict[str, Any]:
    """The JSON object in the file `path`.

    Raises:
        CheckpointError: there is no such file, it lies outside of its checkpoint's folder, or it
            does not hold a JSON object.
    """
    try:
        values = files.read_json(check_inside(path))
    except MissingFileError:
        raise CheckpointError(
            f"{path.parent} has no {path.name}; give the folder that holds it."
        ) from None
    except FileError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} does not hold a JSON object; download or save it again.")
    return values


def check_checkpoint_file(path: Path, most: int | None = None) -> None:
    """See to it that `path` is a regular file of no more than `most` bytes.

    Raises:
        CheckpointError: it is not.
    """
    try:
        files.check_file(path, most)
    except FileError as error:
        raise CheckpointError(str(error)) from error


@contextmanager
def explain_settings_errors(path: Path) -> Iterator[None]:
    """Within, whatever fails over settings is the fault of the file `path`, where they are from.

    Raises:
        SettingsError: in place of what was raised.
    """
    try:
        yield
    except (DpnbError, torch.OutOfMemoryError):
        raise
    except _MISTAKES as error:
        reason = (str(error).strip().splitlines() or [""])[0].rstrip(".")
        raise SettingsError(
            f"{path} holds settings that cannot be used ({reason or type(error).__name__}); "
            "download or save it again."
        ) from error


_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a class raises over settings that it cannot have, in its own checks or in torch's."""


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write `values` as checkpoints have them: sorted keys, two spaces, a final newline."""
    write_text(path, json.dumps(values, indent=2, sort_keys=True) + "\n")


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value
