"""Files that others have written: opened only if they are files, and read within bounds.

A pipe or a device in the place of a file would never end, and JSON may nest so deep, or hold a
number so long, that whatever walks over it fails.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from dpnb.errors import FileError, MissingFileError
from dpnb.units import format_bytes

MAX_JSON = 64 << 20
"""Bytes; the largest index of shards that is known takes a tenth of it."""

MAX_DEPTH = 64
"""Lists and objects within one another."""

MAX_DIGITS = 100
"""Of a whole number."""


def check_file(path: Path, most: int | None = None) -> None:
    """See to it that `path` is a regular file, or a link to one.

    Args:
        path: what is to be opened.
        most: bytes that it may have.

    Raises:
        MissingFileError: there is none.
        FileError: it is a folder, a pipe or a device, is larger than that, or cannot be reached.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise MissingFileError(f"There is no file {path}; check its name.") from None
    except (OSError, ValueError) as error:
        _refuse_unreachable(path, error)
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise FileError(f"{path} is {kind}, where a file is needed; put the file in its place.")
    if most is not None and found.st_size > most:
        raise FileError(
            f"{path} has {format_bytes(found.st_size)}, and such a file has no more than "
            f"{format_bytes(most)}; download or save it again."
        )


def read_text(path: Path, most: int = MAX_JSON) -> str:
    """The text of a file in UTF-8; a byte-order mark at its beginning is left out.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        MissingFileError: there is none.
        FileError: it is no such file, or not in UTF-8.
    """
    check_file(path, most)
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{path} is not in UTF-8 ({error.reason} at byte {error.start}); save it again so."
        ) from error
    except OSError as error:
        _refuse_unreachable(path, error)


def read_json(path: Path, most: int = MAX_JSON) -> Any:
    """What a JSON file holds.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        MissingFileError: there is none.
        FileError: it is no such file, or not JSON; see `parse_json`.
    """
    return parse_json(read_text(path, most), path)


def parse_json(text: str | bytes, source: object) -> Any:
    """What a JSON text holds.

    Args:
        text: in UTF-8, where it is bytes.
        source: the file or place that it is from, for errors.

    Raises:
        FileError: it is no JSON, nests too deep, or holds a number or text that is none.
    """
    try:
        return decode_json(text)
    except ValueError as error:
        raise FileError(
            f"{source} is not valid JSON ({error}); download or save it again."
        ) from error


def decode_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Args:
        text: in UTF-8, where it is bytes.

    Raises:
        ValueError: it is no JSON, nests too deep, or holds a number or text that is none.
    """
    try:
        value = json.loads(text, parse_int=_whole)
        _check_depth(value)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except UnicodeEncodeError as error:
        raise ValueError("it holds a lone surrogate, which is half of a character") from error
    return value


_TOO_DEEP = f"it nests deeper than {MAX_DEPTH} levels"


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits, and {MAX_DIGITS} at most are read")
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for container in level for item in _items(container)]
        if not level:
            return
    raise ValueError(_TOO_DEEP)


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value, *value.values())
    if isinstance(value, str) and not value.isascii():
        value.encode()
    return value if isinstance(value, list) else ()


def _refuse_unreachable(path: Path, error: Exception) -> NoReturn:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    raise FileError(f"{path} cannot be read ({reason}); check its name and rights.") from error
