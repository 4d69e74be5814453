"""`model_index.json`: the class of a pipeline, and library and class of each of its components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

from dpnb.errors import CheckpointError
from dpnb.loading.checkpoint_files import explain_settings_errors, read_checkpoint_json, write_json
from dpnb.loading.filenames import PIPELINE_INDEX, is_bare
from dpnb.loading.settings_files import entries
from dpnb.validation import validate

ComponentClass: TypeAlias = tuple[str, str]
"""Library and class of a component, as the file names them."""


@dataclass(frozen=True)
class ModelIndex:
    """What a pipeline's folder says about itself.

    Attributes:
        class_name: The pipeline's class; of a custom pipeline its module and class.
        components: By name, which is also the name of the folder; `None` for an absent one.
        settings: The pipeline's other settings.
        ignored: Files of the repository that are not to be downloaded.
    """

    file_name: ClassVar[str] = PIPELINE_INDEX

    class_name: str | tuple[str, str]
    components: Mapping[str, ComponentClass | None]
    settings: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path) -> ModelIndex:
        """The index in `folder`.

        Raises:
            CheckpointError: there is none, or it names a class or component that cannot be one.
        """
        path = folder / cls.file_name
        return cls.parse(read_checkpoint_json(path), path)

    @classmethod
    def parse(cls, values: Mapping[str, Any], path: Path) -> ModelIndex:
        """The index that the JSON object `values` is; `path` is named in errors.

        Raises:
            CheckpointError: it names a class or component that cannot be one.
        """
        components: dict[str, ComponentClass | None] = {}
        settings: dict[str, Any] = {}
        for name, value in values.items():
            if name.startswith("_"):
                continue
            if _is_entry(value):
                components[_check_name(name, path)] = _parse_component(name, value, path)
            else:
                settings[name] = value
        with explain_settings_errors(path):
            key = "_ignore_files"
            ignored = validate(tuple[str, ...] | None, values.get(key), key) or ()
        return cls(_class_name(values, path), components, settings, ignored)

    def write(self, folder: Path) -> None:
        """Write the index into `folder`, in the form that diffusers reads."""
        write_json(folder / self.file_name, self.values())

    def values(self) -> dict[str, Any]:
        """What is written."""
        components = {
            name: [None, None] if part is None else list(part)
            for name, part in self.components.items()
        }
        class_name = self.class_name if isinstance(self.class_name, str) else list(self.class_name)
        return entries("", {**self.settings, **components}) | {"_class_name": class_name}


def _is_entry(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(item is None or isinstance(item, str) for item in value)
    )


def _parse_component(
    name: str, value: tuple[str | None, str | None], path: Path
) -> ComponentClass | None:
    library, class_name = value
    if library is None and class_name is None:
        return None
    if not library or not class_name:
        raise CheckpointError(
            f"{path} gives {name!r} as {list(value)}; it takes a library and a class, or two nulls."
        )
    return library, class_name


def _check_name(name: str, path: Path) -> str:
    if not name.isidentifier():
        raise CheckpointError(
            f"{path} names a component {name!r}, which is not a plain name of a folder; "
            "do not trust this checkpoint."
        )
    return name


def _class_name(values: Mapping[str, Any], path: Path) -> str | tuple[str, str]:
    value = values.get("_class_name")
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list | tuple) and len(value) == 2:
        module, class_name = value
        if is_bare(module) and isinstance(class_name, str):
            return module, class_name
    raise CheckpointError(
        f"{path} names no pipeline class in _class_name (found {value!r}); "
        "give the folder of a pipeline, not of a single model."
    )
