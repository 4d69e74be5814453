"""The JSON files of a checkpoint, read and written; what is wrong with them names the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from dpnb import files
from dpnb.atomic import write_text
from dpnb.errors import CheckpointError, DpnbError, FileError, MissingFileError, SettingsError
from dpnb.loading.checkpoint_paths import check_inside


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
    write_text(path, format_json(values))


def format_json(values: Mapping[str, Any]) -> str:
    """`values` as `write_json` writes them."""
    return json.dumps(values, indent=2, sort_keys=True) + "\n"
