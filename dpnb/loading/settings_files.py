"""The JSON files that hold settings, and their form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePath
from typing import Any

from dpnb.errors import CheckpointError
from dpnb.loading.checkpoint_files import read_checkpoint_json
from dpnb.loading.default_settings import DEFAULTED
from dpnb.loading.hub import HubOptions, fetch

FORMAT_VERSION = "0.42.1"
"""The diffusers release whose files we write; diffusers parses it when it reads them."""


def load_settings(
    place: str | Path,
    file_name: str,
    return_unused_kwargs: bool = False,
    return_commit_hash: bool = False,
    *,
    subfolder: str | None = None,
    **options: Any,
) -> Any:
    """The settings in a file of a checkpoint, as plain JSON values.

    Args:
        place: a folder, or a hub repository's name.
        file_name: of the settings.
        return_unused_kwargs: return those of `options` that are not the hub's beside the settings.
        return_commit_hash: return the hub's commit as well, last; `None` of a folder.
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
    beside: list[Any] = [unused] if return_unused_kwargs else []
    if return_commit_hash:
        beside.append(_commit_of(folder))
    return (settings, *beside) if beside else settings


def _commit_of(folder: Path) -> str | None:
    """The commit whose files a folder of the hub's cache holds; `None` of another folder."""
    *_, kind, name = ("", *folder.absolute().parts)
    return name if kind == "snapshots" else None


def entries(class_name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """`settings` as a configuration file holds them, with the name of their class.

    Where they came from is left out: it says something about this machine. So is which of them are
    defaults: who reads the file is given them all.
    """
    beside = ("_name_or_path", DEFAULTED)
    kept = {name: value for name, value in settings.items() if name not in beside}
    plain = {name: _as_json(value) for name, value in kept.items()}
    return {**plain, "_class_name": class_name, "_diffusers_version": FORMAT_VERSION}


def _select_file(name: str, files: Sequence[str]) -> list[str]:
    if name not in files:
        raise CheckpointError(f"The repository has no {name}; name the folder that holds it.")
    return [name]


def _as_json(value: Any) -> Any:
    return value.as_posix() if isinstance(value, PurePath) else value
