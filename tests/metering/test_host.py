from __future__ import annotations

import re
import resource
import time
from pathlib import Path

import pytest

from dpnb.metering import host
from dpnb.metering.host import HostMeter
from dpnb.metering.machine_memory import FRESH, MachineMemory
from tests.metering.memory import occupy

MIB = 2**20
LITTLE = 4 * MIB


def test_the_resident_set_rises_and_falls() -> None:
    meter = HostMeter()
    before = meter.read().current
    held = occupy(64 * MIB)
    assert abs(meter.read().current - before - len(held)) < LITTLE
    del held
    assert abs(meter.read().current - before) < LITTLE


def test_the_kernel_sees_a_peak_between_two_readings() -> None:
    meter = HostMeter()
    meter.reset_peak()
    before = meter.read()
    occupy(64 * MIB)
    after = meter.read()
    assert abs(after.peak - before.current - 64 * MIB) < LITTLE
    meter.reset_peak()
    assert meter.read().peak < after.peak - 32 * MIB


def test_one_meter_does_not_take_the_peak_of_another() -> None:
    first, second = HostMeter(), HostMeter()
    first.reset_peak()
    occupy(64 * MIB)
    peak = first.read().peak
    second.reset_peak()
    assert first.read().peak >= peak
    assert second.read().peak < peak - 32 * MIB


def process(folder: Path, current: int, most: int) -> None:
    """Write what the kernel says of a process whose high-water mark cannot be reset."""
    (folder / "status").write_text(f"Name:\tpython\nVmHWM:\t{most} kB\nVmRSS:\t{current} kB\n")
    (folder / "clear_refs").mkdir(exist_ok=True)


def test_a_mark_that_cannot_be_reset_leaves_a_lower_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PROCESS", tmp_path)
    process(tmp_path, 100, 900)
    meter = HostMeter()
    assert meter.read().peak == 900 * 1024
    meter.reset_peak()
    assert meter.read().peak == 100 * 1024
    process(tmp_path, 300, 900)
    assert meter.read().peak == 300 * 1024
    process(tmp_path, 200, 900)
    assert meter.read().peak == 300 * 1024
    process(tmp_path, 200, 1000)
    assert meter.read().peak == 1000 * 1024


def test_without_the_kernels_files_the_highest_resident_set_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PROCESS", tmp_path / "absent")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    reading = HostMeter().read()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert before <= reading.current <= reading.peak <= after


def machine(root: Path, groups: str) -> tuple[Path, Path]:
    """A machine of 8000 kB, 5000 of them free, and the control groups of its processes."""
    proc, cgroups = root / "proc", root / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal:  8000 kB\nMemFree: 9 kB\nMemAvailable: 5000 kB\n")
    (proc / "self" / "cgroup").write_text(groups)
    return proc, cgroups


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("memory_", "memory.", 1)).write_text(f"{content}\n")


def test_without_a_container_the_machine_is_the_limit(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "0::/\n")
    write(cgroups, memory_max="max", memory_current=100)
    memory = MachineMemory(proc, cgroups)
    assert (memory.limit, memory.free()) == (8000 * 1024, 5000 * 1024)


def test_free_memory_is_asked_for_anew_after_a_while(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "0::/\n")
    memory = MachineMemory(proc, cgroups)
    assert memory.free() == 5000 * 1024
    text = (proc / "meminfo").read_text()
    (proc / "meminfo").write_text(re.sub(r"(MemAvailable:\s*)\d+", r"\g<1>4000", text))
    time.sleep(2 * FRESH)
    assert memory.free() == 4000 * 1024


def test_a_container_of_the_second_version_limits(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "0::/pod/box\n")
    write(cgroups / "pod", memory_max=4_000_000, memory_current=1_500_000)
    write(
        cgroups / "pod" / "box",
        memory_max="max",
        memory_current=1_500_000,
    )
    write(cgroups / "pod", memory_stat="anon 1\ninactive_file 200000\nactive_file 5")
    memory = MachineMemory(proc, cgroups)
    assert (memory.limit, memory.free()) == (4_000_000, 2_700_000)


def test_a_container_of_the_first_version_limits(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n")
    write(
        cgroups / "memory" / "box",
        memory_limit_in_bytes=3_000_000,
        memory_usage_in_bytes=2_900_000,
        memory_stat="inactive_file 7\ntotal_inactive_file 400000",
    )
    memory = MachineMemory(proc, cgroups)
    assert (memory.limit, memory.free()) == (3_000_000, 500_000)


def test_a_machine_without_the_kernels_files_still_has_a_limit(tmp_path: Path) -> None:
    memory = MachineMemory(tmp_path, tmp_path)
    assert memory.limit > MIB
    assert memory.free() is None


def test_a_bound_of_one_meter_is_not_that_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PROCESS", tmp_path)
    process(tmp_path, 100, 900)
    first, second = HostMeter(), HostMeter()
    first.reset_peak()
    second.reset_peak()
    assert first.read().peak == second.read().peak == 100 * 1024
