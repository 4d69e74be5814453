"""Two directories change places: in one step where the system can, else with a way back."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import sys
from contextlib import ExitStack
from pathlib import Path

from dpnb.atomic import sync

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EXDEV)


def exchange_folders(new: Path, old: Path) -> None:
    """Put the directory `new` where `old` is; what was there, if anything, is then at `new`.

    Both must be on one file system. An error leaves both where they were.
    """
    if not old.exists():
        os.rename(new, old)
    elif not _exchange_at_once(new, old):
        _exchange_in_turn(new, old)
    if os.name == "posix":
        sync(old.parent)


def merge_folders(new: Path, old: Path, stale: list[Path]) -> None:
    """Move every file of `new` to its place in `old`, and `stale` ones (relative paths) away.

    For directories that cannot be renamed. An error puts everything back; a kill in the midst
    leaves a mixture. Afterwards `new` holds nothing of value.
    """
    attic = new / f".{secrets.token_hex(8)}"
    files = [path.relative_to(new) for path in new.rglob("*") if not path.is_dir()]
    with ExitStack() as rollback:
        for name in (*stale, *files):
            if os.path.lexists(old / name):
                _move(old / name, attic / name, rollback)
        for name in files:
            _move(new / name, old / name, rollback)
        rollback.pop_all()


def _exchange_at_once(first: Path, second: Path) -> bool:
    """Whether the system could do it (Linux 3.15, renameat2(2))."""
    if sys.platform != "linux":
        return False
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    paths = os.fsencode(first), os.fsencode(second)
    if renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE) == 0:
        return True
    error = ctypes.get_errno()
    if error in _UNSUPPORTED:
        return False
    raise OSError(error, os.strerror(error), str(second))


def _exchange_in_turn(new: Path, old: Path) -> None:
    aside = new.with_name(f"{new.name}.former")
    os.rename(old, aside)
    try:
        os.rename(new, old)
    except BaseException:
        os.rename(aside, old)
        raise
    os.rename(aside, new)


def _move(source: Path, target: Path, rollback: ExitStack) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(source, target)
    rollback.callback(os.rename, target, source)
