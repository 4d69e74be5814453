"""Files that change all at once: what stood there stays until its successor is on the disk."""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from dpnb.errors import SaveError

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ABANDONED_AFTER_S = 24 * 3600
"""Where the system knows no locks, what is older than that is taken for abandoned."""

_SUFFIX = ".part"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_LONGEST = 160
"""Bytes of a file's name that the name of its successor begins with."""


def write_text(path: str | Path, text: str) -> None:
    """Write `text` in UTF-8 as the file `path`; see `write_atomically`."""
    write_bytes(path, text.encode())


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write `content` as the file `path`; see `write_atomically`."""
    with write_atomically(path) as file:
        file.write(content)


@contextmanager
def write_atomically(path: str | Path, failure: type[OSError] = SaveError) -> Iterator[BinaryIO]:
    """A new file to write into, which takes the place of `path` when the block ends well.

    Until then what stood there is untouched, whatever happens: an exception, a full disk, a kill.
    The folder is made if need be. Nothing is written through a link: one that has the name of
    `path` is replaced, and the new file has a name that nobody can foresee. What a killed process
    left of an earlier attempt is removed. A device or a pipe is written to as it is.

    Args:
        path: of the file.
        failure: the class of the error when the disk is full.

    Raises:
        SaveError: the disk is full, a quota or limit reached, or the folder not to be written to.
        IsADirectoryError: `path` is a folder.
    """
    target = Path(path)
    if os.path.isdir(target):
        raise IsADirectoryError(f"{target} is a folder; give the name of a file.")
    with explain_full_disk(target, failure), ExitStack() as cleanup:
        if _is_stream(target):
            yield cleanup.enter_context(target.open("wb"))
            return
        with _explain_refusal(target, failure):
            target.parent.mkdir(parents=True, exist_ok=True)
            part, file = _open_part(target, cleanup)
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _explain_refusal(target, failure):
            if target.is_file() and not target.is_symlink():
                part.chmod(stat.S_IMODE(target.stat().st_mode))
            os.replace(part, target)
        if os.name == "posix":
            sync(target.parent)


@contextmanager
def explain_full_disk(target: Path, failure: type[OSError] = SaveError) -> Iterator[None]:
    """Within it a full disk is an error of class `failure`, in one sentence about `target`."""
    try:
        yield
    except OSError as error:
        if error.errno not in OUT_OF_SPACE:
            raise
        reason = error.strerror or os.strerror(error.errno)
        explained = failure(
            f"{target} could not be saved ({reason}); what it held before is untouched. "
            "Free some space, or save elsewhere."
        )
        explained.errno = error.errno
        raise explained from error


def find_place(folder: Path) -> Path:
    """`folder`, or that part of its path which is there already."""
    return next(place for place in (folder, *folder.absolute().parents) if place.exists())


def check_folder(folder: Path) -> None:
    """Refuse a folder into which nothing could be written, before work has been done for it.

    Raises:
        SaveError: it is a file or in one, or nobody may write there.
    """
    place = find_place(folder)
    if not place.is_dir():
        raise SaveError(f"{place} is a file; choose another folder than {folder}.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise SaveError(f"{place} is not a folder that you may write to; choose another one.")


def sync(path: Path) -> None:
    """Wait until the file or directory `path` is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(path: Path) -> Callable[[], None]:
    """Wait until nobody else holds this file or directory, and hold it.

    What is held is let go with the process, or with a call of the result.
    """
    if sys.platform == "win32":
        return lambda: None
    import fcntl

    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            os.close(descriptor)
            raise
    return lambda: os.close(descriptor)


def lock_if_abandoned(path: Path) -> Callable[[], None] | None:
    """Hold this file or directory if nobody else does; `None` if somebody does, or nobody knows."""
    if sys.platform == "win32":
        is_old = time.time() - path.stat().st_mtime > ABANDONED_AFTER_S
        return (lambda: None) if is_old else None
    import fcntl

    with ExitStack() as opened:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            opened.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        return opened.pop_all().close


def _is_stream(target: Path) -> bool:
    """Whether it is a device or a pipe, or leads to an open file as `/dev/stdout` does."""
    try:
        mode = target.stat().st_mode
    except OSError:
        return False
    is_open_file = target.is_symlink() and target.absolute().parts[1] in ("dev", "proc")
    return is_open_file or not stat.S_ISREG(mode)


def _open_part(target: Path, cleanup: ExitStack) -> tuple[Path, BinaryIO]:
    """A file beside `target` that is there for this process alone, until `cleanup`."""
    stem = f".{target.name.encode()[:_LONGEST].decode(errors='ignore')}."
    _remove_abandoned(target.parent, stem)
    while True:
        part = target.parent / f"{stem}{secrets.token_hex(8)}{_SUFFIX}"
        file = part.open("xb")
        with suppress(FileNotFoundError):
            release = lock(part)
            if part.exists():
                break
            release()
        file.close()
    cleanup.callback(release)
    cleanup.callback(part.unlink, missing_ok=True)
    return part, file


def _remove_abandoned(folder: Path, stem: str) -> None:
    pattern = re.compile(re.escape(stem) + r"[0-9a-f]{16}" + re.escape(_SUFFIX))
    with os.scandir(folder) as entries:
        found = [Path(e) for e in entries if pattern.fullmatch(e.name) and e.is_file()]
    for leftover in found:
        if not leftover.is_symlink() and (release := lock_if_abandoned(leftover)):
            leftover.unlink(missing_ok=True)
            release()


@contextmanager
def _explain_refusal(target: Path, failure: type[OSError]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in OUT_OF_SPACE:
            raise
        place = find_place(target.parent)
        if place.is_dir():
            reason = (
                f"{target} cannot be written ({error.strerror}); save elsewhere, or see to it that "
                "its folder is one that you may write to."
            )
        else:
            reason = f"{target} cannot be written: {place} is a file; choose another folder."
        raise failure(reason) from error
