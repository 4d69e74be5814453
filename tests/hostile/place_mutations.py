"""Something else in the place of a file."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

SPARSE = 6 << 30


def misplace(path: Path, chance: random.Random) -> str:
    """Put something else in the place of the file `path`; the name of what it is."""
    ways: tuple[Callable[[Path], None], ...] = (
        _pipe, _zero, _folder, _nothing, _loop, _dangling, _sparse, _terminal,
    )  # fmt: skip
    way = chance.choice(ways)
    path.unlink()
    way(path)
    return way.__name__.strip("_")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _terminal(path: Path) -> None:
    path.symlink_to("/dev/stdin")


def _folder(path: Path) -> None:
    path.mkdir()


def _nothing(path: Path) -> None:
    del path


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(SPARSE)
