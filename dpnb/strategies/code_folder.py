"""Where compiled code is kept: for other processes too, where the folder is the user's alone."""

from __future__ import annotations

import atexit
import hashlib
import os
import pickle
import platform
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import torch

from dpnb.strategies.compile_order import Nesting, Order

MOST_BYTES = 1 << 29
"""What is kept between processes; beyond, what was used longest ago is removed."""

CODE, NESTING = ".pt2", ".nesting"


class CodeFolder:
    """Files of compiled code, each with how what it computes is nested.

    A file is there as a whole or not at all.

    Args:
        path: the folder; whatever is in it is run, so that nobody else may write into it.
        most_bytes: that are kept.
    """

    def __init__(self, path: Path, most_bytes: int = MOST_BYTES) -> None:
        self.path, self._most_bytes = path, most_bytes

    def find(self, key: str) -> tuple[Path, Nesting] | None:
        """The code of this key and its nesting, if they are here."""
        code, nesting = self._paths(key)
        try:
            told = pickle.loads(nesting.read_bytes())
            os.utime(code)
        except Exception:  # whatever is wrong with what is kept: it can be made again
            return None
        return code, told

    def new_file(self) -> Path:
        """A name in the folder, which is made if need be, for code that is being compiled."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self.path / f"{secrets.token_hex(8)}.part{CODE}"

    def keep(self, key: str, made: Path, nesting: Nesting) -> Path:
        """Let a file of `new_file` be the code of a key; its path from now on."""
        code, told = self._paths(key)
        part = made.with_suffix(NESTING)
        part.write_bytes(pickle.dumps(nesting))
        os.replace(part, told)
        os.replace(made, code)
        self._make_room(code)
        return code

    def remove(self, key: str) -> None:
        """Forget the code of a key."""
        for path in self._paths(key):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.path / f"{key}{CODE}", self.path / f"{key}{NESTING}"

    def _make_room(self, newest: Path) -> None:
        found = sorted(self._list_code(), reverse=True)
        total = 0
        for _, size, path in found:
            total += size
            if total > self._most_bytes and path != newest:
                self.remove(path.stem)

    def _list_code(self) -> Iterator[tuple[float, int, Path]]:
        for path in self.path.glob(f"*{CODE}"):
            with suppress(OSError):
                known = path.stat()
                yield known.st_mtime, known.st_size, path


def open_code_folder() -> CodeFolder:
    """The folder of this user; one that ends with this process, where that is not safe.

    It is `$DPNB_CACHE/compiled`, or `dpnb/compiled` where this system keeps what can be made again;
    with an empty `DPNB_CACHE`, nothing is kept.
    """
    named = os.environ.get("DPNB_CACHE")
    if named is None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        named = os.path.join(base, "dpnb")
    path = Path(named, "compiled")
    if named and path.is_absolute() and _is_own(path):
        return CodeFolder(path)
    return CodeFolder(_passing_folder(os.getpid()))


def _is_own(path: Path) -> bool:
    """Whether a folder, made if need be, is this user's, and closed to everybody else."""
    if sys.platform == "win32":
        return False
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = path.lstat()
    except OSError:
        return False
    is_folder, is_closed = stat.S_ISDIR(known.st_mode), not known.st_mode & 0o077
    return is_folder and is_closed and known.st_uid == os.getuid() and os.access(path, os.W_OK)


@cache
def _passing_folder(owner: int) -> Path:
    folder = Path(mkdtemp(prefix="dpnb-compiled-"))
    atexit.register(_remove_own, folder, owner)
    return folder


def _remove_own(folder: Path, owner: int) -> None:
    if os.getpid() == owner:
        rmtree(folder, ignore_errors=True)


def lasting_key(order: Order) -> str:
    """What tells code from all other that any process of this user may have made."""
    told = [
        order.key,
        torch.__version__,
        torch.version.git_version,
        sys.version,
        platform.machine(),
    ]
    told += [_processor(), *map(_stamp, order.packages)]
    device = order.find_device()
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        told += [properties.name, f"{properties.major}.{properties.minor}", str(torch.version.cuda)]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


@cache
def _processor() -> str:
    """What the CPU can do."""
    with suppress(OSError), open("/proc/cpuinfo") as file:
        return next((line for line in file if line.startswith(("flags", "Features"))), "")
    return platform.processor()


@cache
def _stamp(package: str) -> str:
    """When the code of a package was last changed."""
    try:
        spec = find_spec(package)
    except ValueError:  # it was made by hand
        spec = None
    if spec is None:
        return package
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
    files = sorted(path for folder in folders for path in folder.rglob("*.py"))
    told = []
    for path in files or [Path(spec.origin or package)]:
        with suppress(OSError):
            known = path.stat()
            told.append(f"{path} {known.st_size} {known.st_mtime_ns}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()
