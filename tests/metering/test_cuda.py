from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb.metering.clock import CudaClock, HostClock, clock_for
from dpnb.metering.cuda import CudaMeter, read_allocator_stats
from dpnb.metering.reading import MeterError

MIB = 2**20


def statistics(**current: int) -> dict[str, Any]:
    """What torch's allocator would say."""
    return {name: {"all": {"current": value, "peak": value + 1}} for name, value in current.items()}


def test_statistics_of_the_allocator_become_a_reading() -> None:
    stats = statistics(allocated_bytes=600, reserved_bytes=1000, inactive_split_bytes=150)
    reading = read_allocator_stats(stats, free=5000, total=8000)
    assert (reading.current, reading.peak, reading.reserved) == (600, 601, 1000)
    assert (reading.fragmented, reading.free, reading.limit) == (150, 5000, 8000)
    assert reading.others == 2000


def test_others_are_never_negative() -> None:
    stats = statistics(allocated_bytes=0, reserved_bytes=1000, inactive_split_bytes=0)
    assert read_allocator_stats(stats, free=7500, total=8000).others == 0


def test_a_device_that_is_not_there_is_refused() -> None:
    absent = f"cuda:{torch.cuda.device_count()}"
    with pytest.raises(
        MeterError, match=f"CudaMeter cannot read {absent}: torch finds .* here; use"
    ):
        CudaMeter(absent)


def test_other_devices_have_the_clock_of_the_host() -> None:
    assert isinstance(clock_for("cpu"), HostClock)


UNSPLIT = MIB
"""The allocator hands out a larger block than asked for, and counts it, where less is left over."""


def is_about(found: int, wanted: int) -> bool:
    """Whether blocks of the allocator hold tensors of so many bytes: two of them, at most."""
    return wanted <= found <= wanted + 2 * UNSPLIT


@pytest.mark.gpu
def test_allocations_are_read_without_waiting() -> None:
    meter = CudaMeter("cuda")
    meter.reset_peak()
    before = meter.read()
    kept = torch.empty(8 * MIB, dtype=torch.uint8, device="cuda")
    torch.empty(16 * MIB, dtype=torch.uint8, device="cuda")
    after = meter.read()
    assert is_about(after.current - before.current, kept.nbytes)
    assert is_about(after.peak - before.current, 24 * MIB)
    assert after.reserved is not None
    assert after.reserved >= after.peak


@pytest.mark.gpu
def test_one_meter_does_not_take_the_peak_of_another() -> None:
    first, second = CudaMeter("cuda"), CudaMeter("cuda:0")
    first.reset_peak()
    start = first.read().current
    torch.empty(16 * MIB, dtype=torch.uint8, device="cuda")
    second.reset_peak()
    assert is_about(first.read().peak - start, 16 * MIB)
    assert second.read().peak == start


@pytest.mark.gpu
def test_the_clock_tells_the_time_of_the_device() -> None:
    clock = clock_for("cuda")
    assert isinstance(clock, CudaClock)
    a = torch.randn(4096, 4096, device="cuda")
    start = clock.mark()
    for _ in range(20):
        a = a @ a / 4096
    end = clock.mark()
    for_the_host = end.time - start.time
    clock.wait(end)
    assert clock.seconds(start, end) > for_the_host
