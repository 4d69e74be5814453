"""The meter of host memory: the resident set of this process."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from dpnb.metering.machine_memory import MachineMemory, parse_kilobytes, read_kernel_file
from dpnb.metering.reading import MeterError, Reading
from dpnb.metering.shared_peak import SharedPeakMeter

PROCESS = Path("/proc/self")


class HostMeter(SharedPeakMeter):
    """Reads how much of the machine's memory this process occupies.

    On Linux the peak is the kernel's own high-water mark, so that nothing between two readings is
    missed. Where the kernel does not let it be reset, and on other systems, the peak since a reset
    is a lower bound until the mark of the whole process is passed. Weights that are mapped from a
    file count as far as they have been touched. Memory that is freed may stay with the process:
    `TensorMeter` is exact where this is not.

    Raises:
        MeterError: the system tells nothing of a process's memory.
    """

    name: ClassVar = "host"
    label: ClassVar = "resident bytes of the process"

    def __init__(self) -> None:
        self._machine = MachineMemory()
        self._floor = 0
        self._highest = 0
        _read_resident()
        super().__init__("resident set")

    def read(self) -> Reading:
        """What is resident now."""
        current, high_water = _read_resident()
        limit, free = self._machine.limit, self._machine.free()
        return Reading(
            time=time.perf_counter(),
            current=current,
            peak=self._peak(self._since_reset(current, high_water)),
            free=free,
            limit=limit,
            others=None if free is None else max(limit - free - current, 0),
        )

    def _since_reset(self, current: int, high_water: int) -> int:
        self._highest = max(self._highest, current)
        return max(self._highest, high_water if high_water > self._floor else 0)

    @override
    def _high_water(self) -> int:
        return self._since_reset(*_read_resident())

    @override
    def _reset_high_water(self) -> None:
        self._floor = 0 if _reset_kernel_peak() else _read_resident()[1]
        self._highest = 0


def _read_resident() -> tuple[int, int]:
    """The resident set now, and the most that it has been, in bytes."""
    try:
        status = read_kernel_file(PROCESS / "status")
    except OSError:
        return _read_usage()
    current, most = parse_kilobytes(status, "VmRSS"), parse_kilobytes(status, "VmHWM")
    return _read_usage() if current is None else (current, max(most or 0, current))


def _read_usage() -> tuple[int, int]:
    """The most that the resident set has been, twice: more is not known."""
    try:
        from resource import RUSAGE_SELF, getrusage
    except ImportError as error:
        raise MeterError(
            "HostMeter finds no way to read this process's memory on this system; use "
            "TensorMeter()."
        ) from error
    most = getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return most, most


def _reset_kernel_peak() -> bool:
    """Let the kernel's high-water mark fall to what is resident; whether it did."""
    try:
        file = os.open(PROCESS / "clear_refs", os.O_WRONLY)
        try:
            os.write(file, b"5")
        finally:
            os.close(file)
    except OSError:
        return False
    return True
