"""The frozen settings that stand beside weights as JSON, and the objects that carry them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn, TypeAlias, overload

from typing_extensions import Self, override

from dpnb.errors import CheckpointError
from dpnb.loading.checkpoint_files import format_json, read_checkpoint_json, write_json
from dpnb.loading.hub import HubOptions, fetch
from dpnb.validation import Range, hints_of, validate

logger = logging.getLogger(__name__)

FORMAT_VERSION = "0.42.1"
"""The diffusers release whose files we write; diffusers parses it when it reads them."""

Width: TypeAlias = Annotated[int, Range(1, 1 << 17)]
"""Channels, heads, groups or entries: what makes a layer large."""

Count: TypeAlias = Annotated[int, Range(0, 1_000)]
"""Layers or blocks: what makes a network long."""

Settings: TypeAlias = "Mapping[str, Any] | str | Path"
"""Settings, or the folder or the repository where they are."""

Side: TypeAlias = Annotated[int, Range(1, 1 << 14)]
"""Of a picture or of latents."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Config(dict[str, Any]):
    """Settings of one object: attributes, a dictionary, and JSON, all the same keys.

    Subclasses declare a field per key. Keys of a file that the class does not know are kept in
    `extra` and written back, so that another class (or program) still finds them.

    Raises:
        TypeError: an entry is set or removed; settings do not change, see `Configured`.
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
    def positional(cls) -> tuple[str, ...]:
        """The settings that may be given without their names, in order."""
        return cls.names()

    @classmethod
    @cache
    def names(cls) -> tuple[str, ...]:
        """The keys that this class knows, in declaration order."""
        return tuple(f.name for f in fields(cls) if f.name not in ("extra", "given"))

    @property
    def unread(self) -> Mapping[str, Any]:
        """What the class does not know, and nobody reads."""
        return self.extra

    def with_changes(self, **changes: Any) -> Self:
        """A copy with `changes`, which count as given; those that nobody knows are kept."""
        known = {name: value for name, value in changes.items() if name in self.names()}
        extra = {name: value for name, value in changes.items() if name not in known}
        given = self.given | changes.keys()
        return replace(self, **known, extra={**self.extra, **extra}, given=given)

    def __post_init__(self) -> None:
        """Make entries of the fields."""
        super().update({name: getattr(self, name) for name in self.names()} | {**self.extra})

    if not TYPE_CHECKING:  # which is to know the settings of each class alone

        def __getattr__(self, name: str) -> Any:
            """A setting that the class does not know."""
            extra = vars(self).get("extra", {})
            if name not in extra:
                raise AttributeError(f"{type(self).__name__} has no setting {name}.")
            return extra[name]

    @override
    def copy(self) -> dict[str, Any]:
        """A dictionary of its own, which may be changed."""
        return dict(self)

    def _keep(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} holds the settings of what was built from them, and they do "
            "not change; build another: from_config(config, name=value)."
        )

    __setitem__ = __delitem__ = __ior__ = _keep
    update = pop = popitem = clear = setdefault = _keep

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), vars(self))

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)

    @override
    def __hash__(self) -> int:  # type: ignore[override]
        return hash((type(self), len(self)))


def _restore(kind: type[Config], settings: Mapping[str, Any]) -> Config:
    return kind(**settings)


class Configured:
    """An object described by a `Config`: a model or a scheduler.

    Args:
        values: of settings, in the order in which the class declares them.
        settings: by name.

    Raises:
        TypeError: there is no such setting, or one is given twice.
    """

    config_class: ClassVar[type[Config]]
    config_name: ClassVar[str]
    config: Any

    def __init__(self, *values: Any, **settings: Any) -> None:
        config = self.config_class.parse(self._name_values(values, settings))
        if config.extra:
            raise TypeError(
                f"{type(self).__name__} has no setting {', '.join(sorted(config.extra))}; "
                f"it knows {', '.join(config.names())}."
            )
        self.config = config

    @classmethod
    def _name_values(cls, values: tuple[Any, ...], settings: dict[str, Any]) -> dict[str, Any]:
        names = cls.config_class.positional()
        placed = dict(zip(names, values, strict=False))
        again = sorted(placed.keys() & settings.keys())
        if again:
            raise TypeError(f"{cls.__name__} is given {', '.join(again)} twice; name it once.")
        if len(values) > len(names):
            raise TypeError(
                f"{cls.__name__} is given {len(values)} settings without names; it takes "
                f"{', '.join(names)} so. Give the others by name."
            )
        return placed | settings

    @overload
    @classmethod
    def from_config(
        cls, config: Settings, return_unused_kwargs: Literal[False] = False, **changes: Any
    ) -> Self: ...

    @overload
    @classmethod
    def from_config(cls, config: Settings, return_unused_kwargs: bool, **changes: Any) -> Any: ...

    @classmethod
    def from_config(
        cls, config: Settings, return_unused_kwargs: bool = False, **changes: Any
    ) -> Any:
        """Build from the settings of a file or of a related class.

        Args:
            config: the settings, or where they are; see `load_config`.
            return_unused_kwargs: return what was built and the settings that it does not know.
            changes: override them.
        """
        settings, changes = cls._settings_of(config, changes)
        parsed = cls.config_class.parse(settings)
        if changes:
            merged = {name: parsed[name] for name in parsed.given} | changes
            parsed = cls.config_class.parse(merged)
        built = cls(**{name: parsed[name] for name in parsed.given if name not in parsed.extra})
        built.config = parsed
        return (built, dict(parsed.extra)) if return_unused_kwargs else built

    @classmethod
    def _settings_of(
        cls, config: Settings, changes: dict[str, Any]
    ) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """The settings themselves, from a file if need be, and the changes to them."""
        if not isinstance(config, (str, Path)):
            return config, changes
        settings, changes = cls.load_config(config, return_unused_kwargs=True, **changes)
        return settings, changes

    @classmethod
    def load_config(
        cls, pretrained_model_name_or_path: str | Path, *args: Any, **options: Any
    ) -> Any:
        """The settings in this class's file, as plain JSON values; see `load_settings`."""
        return load_settings(pretrained_model_name_or_path, cls.config_name, *args, **options)

    def save_config(self, folder: str | Path) -> None:
        """Write this class's file into `folder`, in the form that diffusers reads."""
        write_json(Path(folder) / self.config_name, entries(type(self).__name__, self.config))

    def to_json_string(self) -> str:
        """What `save_config` writes."""
        return format_json(entries(type(self).__name__, self.config))

    def to_json_file(self, json_file_path: str | Path) -> None:
        """Write the settings into a file of any name."""
        write_json(Path(json_file_path), entries(type(self).__name__, self.config))

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


def load_settings(
    place: str | Path,
    file_name: str,
    return_unused_kwargs: bool = False,
    *,
    subfolder: str | None = None,
    **options: Any,
) -> Any:
    """The settings in a file of a checkpoint, as plain JSON values.

    Args:
        place: a folder, or a hub repository's name.
        file_name: of the settings.
        return_unused_kwargs: return the settings, and those of `options` that are not the hub's.
        subfolder: inside `place`.
        options: fields of `dpnb.loading.hub.HubOptions`.

    Raises:
        CheckpointError: there is no such file, or it is damaged.
        HubError: the repository cannot be reached.
        TypeError: there is no such option.
    """
    hub, unused = HubOptions.split(options)
    if unused and not return_unused_kwargs:
        raise TypeError(f"load_config has no argument {', '.join(unused)}; leave it out.")
    name = f"{subfolder}/{file_name}" if subfolder else file_name
    folder = fetch(place, partial(_select_file, name), hub)
    settings = read_checkpoint_json(folder / name)
    return (settings, unused) if return_unused_kwargs else settings


def entries(class_name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as a configuration file holds them, with the name of their class."""
    return {**settings, "_class_name": class_name, "_diffusers_version": FORMAT_VERSION}


def report_unknown(class_name: str, config: Config) -> None:
    """Say in one line which keys of a file nobody here reads."""
    if config.unread:
        names = ", ".join(sorted(config.unread))
        logger.warning("%s does not use these settings and keeps them: %s.", class_name, names)


def _select_file(name: str, files: Sequence[str]) -> list[str]:
    if name not in files:
        raise CheckpointError(f"The repository has no {name}; name the folder that holds it.")
    return [name]


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value
