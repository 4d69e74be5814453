"""The frozen settings that stand beside weights as JSON, and the objects that carry them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace
from functools import cache
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NoReturn, TypeAlias, overload

from typing_extensions import Self, override

from dpnb.loading.checkpoint_files import format_json, write_json
from dpnb.loading.declared_settings import declare_settings
from dpnb.loading.default_settings import DEFAULTED, Defaults, leave_out_defaults
from dpnb.loading.settings_files import entries, load_settings
from dpnb.validation import Range, hints_of, validate

logger = logging.getLogger(__name__)

Width: TypeAlias = Annotated[int, Range(1, 1 << 17)]
"""Channels, heads, groups or entries: what makes a layer large."""

Count: TypeAlias = Annotated[int, Range(0, 1_000)]
"""Layers or blocks: what makes a network long."""

Settings: TypeAlias = "Mapping[str, Any] | str | Path"
"""Settings, or the folder or the repository where they are."""

Side: TypeAlias = Annotated[int, Range(1, 1 << 14)]
"""Of a picture or of latents."""


CLASS, NAME = "_class_name", "_name_or_path"

FACTS = (CLASS, "_diffusers_version", NAME)
"""What files hold, or the place that they are from, beside settings."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Config(dict[str, Any]):
    """Settings of one object: attributes, a dictionary, and JSON, all the same keys.

    Subclasses declare a field per key. Keys of a file that the class does not know are kept in
    `unknown_settings` and written back, so that another class (or program) still finds them. The
    names of those that nobody gave stand under `_use_default_values`, so that a dictionary of the
    entries says so, too.

    Raises:
        TypeError: an entry is set or removed; settings do not change, see `Configured`.
    """

    unknown_settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    given_settings: frozenset[str] = field(default=frozenset(), repr=False)

    @classmethod
    def parse(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration that `settings` describe; lists become tuples.

        From another `Config` only what was given to it is taken, so that this class applies its
        own defaults to the rest.

        Raises:
            ValueError: a setting is not of the type that its field declares.
        """
        given = leave_out_defaults(settings)
        own = {name: value for name, value in given.items() if not name.startswith("_")}
        known = {name: cls._validate(name, own[name]) for name in cls.names() if name in own}
        unknown = {name: cls._keep_value(value) for name, value in own.items() if name not in known}
        names = frozenset(known) | frozenset(unknown)
        return cls(**known, unknown_settings=unknown, given_settings=names)

    @classmethod
    def _validate(cls, name: str, value: Any) -> Any:
        """`value` as the field `name` declares it; files have null, too, where something is off."""
        kind = hints_of(cls)[name]
        return None if value is None and kind is bool else validate(kind, value, name)

    @classmethod
    def _keep_value(cls, value: Any) -> Any:
        """The value of a setting that the class does not know; lists become tuples."""
        return _freeze(value)

    @classmethod
    def positional(cls) -> tuple[str, ...]:
        """The settings that may be given without their names, in order."""
        return cls.names()

    @classmethod
    @cache
    def names(cls) -> tuple[str, ...]:
        """The keys that this class knows, in declaration order."""
        return tuple(
            f.name for f in fields(cls) if f.name not in ("unknown_settings", "given_settings")
        )

    @property
    def unread(self) -> Mapping[str, Any]:
        """What the class does not know, and nobody reads."""
        return self.unknown_settings

    def with_changes(self, **changes: Any) -> Self:
        """A copy with `changes`, which count as given."""
        known = {name: value for name, value in changes.items() if name in self.names()}
        unknown = {name: value for name, value in changes.items() if name not in known}
        return self.with_unknown(unknown, changes.keys(), **known)

    def with_unknown(self, unknown: Mapping[str, Any], given: Iterable[str], **known: Any) -> Self:
        """A copy with further settings.

        Args:
            unknown: those that the class does not know.
            given: the names of those that count as given.
            known: those that it knows.
        """
        return replace(
            self,
            **known,
            unknown_settings={**self.unknown_settings, **unknown},
            given_settings=self.given_settings | {*given},
        )

    def completed(self, declared: Config) -> Self:
        """A copy with those of `declared` that are not among these."""
        missing = {name: value for name, value in declared.items() if name not in self}
        return self.with_unknown(missing, declared.given_settings & missing.keys())

    def __post_init__(self) -> None:
        """Make entries of the fields."""
        _refuse_assignments(type(self))
        known = {name: getattr(self, name) for name in self.names()}
        super().update(known | {**self.unknown_settings})
        own = {name: value for name, value in self.items() if not name.startswith("_")}
        defaults = {name: v for name, v in own.items() if name not in self.given_settings}
        if defaults:
            super().update({DEFAULTED: Defaults(defaults)})

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            if name not in self:
                raise AttributeError(f"there is no setting {name}; there are {', '.join(self)}.")
            return self[name]

    @override
    def copy(self) -> dict[str, Any]:
        """A dictionary of its own, which may be changed."""
        return dict(self)

    def _keep(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(_FIXED.format(type(self).__name__))

    def _keep_attribute(self, *_: Any) -> NoReturn:
        raise FrozenInstanceError(_FIXED.format(type(self).__name__))

    __setitem__ = __delitem__ = __ior__ = _keep
    update = pop = popitem = clear = setdefault = _keep

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), vars(self))

    @override
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and _without_facts(self) == _without_facts(other)

    @override
    def __hash__(self) -> int:  # type: ignore[override]
        return hash((type(self), len(_without_facts(self))))


def _without_facts(settings: Mapping[str, Any]) -> dict[str, Any]:
    beside = (*FACTS, DEFAULTED)
    return {name: value for name, value in settings.items() if name not in beside}


_FIXED = (
    "{} holds the settings of what was built from them, and they do not change; build another: "
    "from_config(config, name=value)."
)


@cache
def _refuse_assignments(kind: type[Config]) -> None:
    """Say so in a sentence, of which a frozen dataclass has its own."""
    for name in ("__setattr__", "__delattr__"):
        setattr(kind, name, Config._keep_attribute)


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
    _deprecated_kwargs: ClassVar[tuple[str, ...]] = ()
    """Former arguments that the constructor still takes: none."""

    @override
    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if (config_class := getattr(cls, "config_class", None)) is not None:
            declare_settings(cls, config_class)

    def __init__(self, *values: Any, **settings: Any) -> None:
        config = self.config_class.parse(self._name_values(values, settings))
        if unknown := sorted(config.unknown_settings):
            raise TypeError(
                f"{type(self).__name__} has no setting {', '.join(unknown)}; "
                f"it knows {', '.join(config.names())}."
            )
        # A derived class may have declared settings of its own before this is called.
        declared: Config | None = vars(self).get("config")
        self.config = config if declared is None else config.completed(declared)

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

        Raises:
            ValueError: `config` is none, or a setting is not of its type.
        """
        settings, changes = cls._settings_of(config, changes)
        parsed = cls.config_class.parse(settings)
        if changes:
            merged = {name: parsed[name] for name in parsed.given_settings} | changes
            parsed = cls.config_class.parse(merged)
        taken = cls._arguments()
        given = {name: parsed[name] for name in parsed.given_settings}
        built = cls(**{name: value for name, value in given.items() if name in taken})
        unused = {name: value for name, value in given.items() if name not in taken}
        built.config = built.config.with_changes(**unused)
        built.note_facts({name: settings[name] for name in FACTS if name in settings})
        return (built, unused) if return_unused_kwargs else built

    def note_facts(self, facts: Mapping[str, Any]) -> None:
        """Keep among the settings what a file says beside them; it is no setting.

        Args:
            facts: some of `FACTS`; the class's name is this one's.
        """
        own = {CLASS: type(self).__name__} if CLASS in facts else {}
        self.config = self.config.with_unknown({**facts, **own}, ())

    @classmethod
    def _arguments(cls) -> set[str]:
        """The settings that the constructor takes; a derived class may have one of its own."""
        parameters = signature(cls.__init__).parameters.values()
        several = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        named = {one.name for one in parameters if one.kind not in several}
        takes_all = any(one.kind is Parameter.VAR_KEYWORD for one in parameters)
        return named.union(cls.config_class.names()) if takes_all else named

    @classmethod
    def _settings_of(
        cls, config: Settings, changes: dict[str, Any]
    ) -> tuple[Mapping[str, Any], dict[str, Any]]:
        """The settings themselves, from a file if need be, and the changes to them."""
        if isinstance(config, Mapping):
            return config, changes
        if not isinstance(config, (str, Path)):
            raise ValueError(
                f"from_config was given {type(config).__name__} in place of settings; pass those "
                f"of another {cls.__name__}, its config, or the folder that holds them."
            )
        settings, changes = cls.load_config(config, return_unused_kwargs=True, **changes)
        return settings, changes

    @classmethod
    def load_config(
        cls, pretrained_model_name_or_path: str | Path, *args: Any, **options: Any
    ) -> Any:
        """The settings in this class's file, as plain JSON values; see `load_settings`.

        Raises:
            ValueError: the class has no file.
        """
        if "config_name" not in dir(cls):
            raise ValueError(
                f"{cls.__name__} has no file of settings; give the class a config_name, or load "
                "by one that has it."
            )
        return load_settings(pretrained_model_name_or_path, cls.config_name, *args, **options)

    def save_config(self, save_directory: str | Path, push_to_hub: bool = False) -> None:
        """Write this class's file into a folder, in the form that diffusers reads.

        Args:
            save_directory: the folder.
            push_to_hub: must be `False`: whole pipelines are uploaded.

        Raises:
            ValueError: it is to be uploaded.
        """
        if push_to_hub:
            raise ValueError(
                f"The settings of a {type(self).__name__} by themselves are not uploaded; push its "
                "pipeline, or the folder with huggingface_hub.upload_folder."
            )
        folder = Path(save_directory)
        write_json(folder / self.config_name, entries(type(self).__name__, self.config))

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


def report_unknown(class_name: str, config: Config) -> None:
    """Say in one line which keys of a file nobody here reads."""
    if unread := sorted({*config.unread} - {*FACTS}):
        names = ", ".join(unread)
        logger.warning("%s does not use these settings and keeps them: %s.", class_name, names)


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value
