"""The memory of this machine, or of the container that the process is in."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")

FRESH = 0.05
"""Seconds in which other programs change little; asking takes a while before every step."""

LONGEST = 1 << 14
"""Bytes; the kernel's files about memory are shorter."""


class MachineMemory:
    """The memory that this process can have, as the kernel's files tell it.

    What a control group, such as a container, allows is less than what the machine has. The groups
    that limit us are looked up once.

    Args:
        proc: where the kernel shows processes.
        cgroups: where it shows control groups.
    """

    def __init__(self, proc: Path = PROC, cgroups: Path = CGROUPS) -> None:
        self._meminfo = proc / "meminfo"
        machine = self._read_meminfo("MemTotal") or _physical_memory()
        groups = [_ControlGroup.read(folder) for folder in _group_folders(proc, cgroups)]
        self._groups = [g for g in groups if g is not None and g.limit < machine]
        self.limit = min([machine, *(group.limit for group in self._groups)])
        self._asked = -FRESH
        self._free: int | None = None

    def free(self) -> int | None:
        """What this process could still have, in bytes; `None` where the system does not say.

        What the kernel keeps only as a cache of files counts as free. The system is asked anew
        when the last answer is older than `FRESH`.
        """
        now = time.monotonic()
        if now >= self._asked + FRESH:
            self._asked, self._free = now, self._read_free()
        return self._free

    def _read_free(self) -> int | None:
        available = self._read_meminfo("MemAvailable")
        if available is None:
            return None
        return min([available, *(group.free() for group in self._groups)])

    def _read_meminfo(self, name: str) -> int | None:
        try:
            return parse_kilobytes(read_kernel_file(self._meminfo), name)
        except OSError:
            return None


def read_kernel_file(path: Path) -> str:
    """A file of the kernel's, without what Python puts around files: read before every step.

    Raises:
        OSError: it cannot be read.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, LONGEST).decode()
    finally:
        os.close(file)


def parse_kilobytes(text: str, name: str) -> int | None:
    """The line `name: number kB` of a file under /proc, in bytes."""
    match = re.search(rf"^{name}:\s*(\d+) kB$", text, re.MULTILINE)
    return int(match.group(1)) * 1024 if match else None


@dataclass(frozen=True)
class _ControlGroup:
    """A control group with a limit, in bytes, and the files that say what it uses."""

    limit: int
    usage: Path
    statistics: Path
    cache: str

    @classmethod
    def read(cls, folder: Path) -> _ControlGroup | None:
        """The group of a folder of control groups of version 2 or 1, where it has a limit."""
        second, first = folder / "memory.max", folder / "memory.limit_in_bytes"
        if (limit := _read_number(second)) is not None:
            used, cache = folder / "memory.current", "inactive_file"
        elif (limit := _read_number(first)) is not None:
            used, cache = folder / "memory.usage_in_bytes", "total_inactive_file"
        else:
            return None
        return cls(limit, used, folder / "memory.stat", cache)

    def free(self) -> int:
        """What the group may still take; the cache of files is given up first."""
        try:
            match = re.search(
                rf"^{self.cache} (\d+)$", read_kernel_file(self.statistics), re.MULTILINE
            )
        except OSError:
            match = None
        used = (_read_number(self.usage) or 0) - (int(match.group(1)) if match else 0)
        return max(self.limit - used, 0)


def _group_folders(proc: Path, cgroups: Path) -> Iterator[Path]:
    """The folders of our control groups: of version 2, and of the memory part of version 1."""
    try:
        lines = (proc / "self" / "cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top = cgroups / "memory" if kinds else cgroups
        inner = top / path.lstrip("/")
        yield from (folder for folder in (inner, *inner.parents) if folder.is_relative_to(top))


def _read_number(path: Path) -> int | None:
    try:
        return int(read_kernel_file(path))
    except (OSError, ValueError):
        return None


def _physical_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
