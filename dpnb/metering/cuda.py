"""The meter of torch's allocator on a CUDA device."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from typing_extensions import override

from dpnb.devices import Device, parse_device
from dpnb.metering.reading import MeterError, Reading
from dpnb.metering.shared_peak import SharedPeakMeter


class CudaMeter(SharedPeakMeter):
    """Reads torch's caching allocator on one CUDA device.

    `current` and `peak` are the bytes of tensors, `reserved` what the allocator has taken from the
    card for them, `fragmented` the unused part of blocks that are partly in use, which
    `torch.cuda.empty_cache` cannot give back. `free` and `limit` are the card's; `others` is what
    is neither free nor reserved: other programs, and CUDA's own context. Reading waits for no work
    of the device. Resetting the peak resets `torch.cuda.max_memory_allocated` as well.

    Args:
        device: which one.

    Raises:
        ValueError: `device` is not a CUDA device.
        MeterError: torch finds no such device.
    """

    name: ClassVar = "cuda"

    def __init__(self, device: Device = "cuda") -> None:
        self.device = _find_device(parse_device(device))
        self.label = f"bytes of tensors in torch's allocator on {self.device}"
        torch.cuda.init()
        super().__init__(self.device)

    def read(self) -> Reading:
        """What is in use now."""
        reading = read_allocator_stats(self._stats(), *torch.cuda.mem_get_info(self.device))
        return replace(reading, peak=self._peak(reading.peak))

    def _stats(self) -> Mapping[str, Any]:
        return torch.cuda.memory_stats_as_nested_dict(self.device)

    @override
    def _high_water(self) -> int:
        return int(self._stats()["allocated_bytes"]["all"]["peak"])

    @override
    def _reset_high_water(self) -> None:
        torch.cuda.reset_peak_memory_stats(self.device)


def read_allocator_stats(stats: Mapping[str, Any], free: int, total: int) -> Reading:
    """A reading of the allocator's statistics.

    Args:
        stats: as of `torch.cuda.memory_stats_as_nested_dict`.
        free: bytes on the card.
        total: likewise.
    """
    allocated, reserved = stats["allocated_bytes"]["all"], stats["reserved_bytes"]["all"]["current"]
    return Reading(
        time=time.perf_counter(),
        current=allocated["current"],
        peak=allocated["peak"],
        reserved=reserved,
        fragmented=stats["inactive_split_bytes"]["all"]["current"],
        free=free,
        limit=total,
        others=max(total - free - reserved, 0),
    )


def _find_device(device: torch.device) -> torch.device:
    if device.type != "cuda":
        raise ValueError(
            f"CudaMeter reads CUDA devices, not {device}; use HostMeter() or TensorMeter()."
        )
    count = torch.cuda.device_count()
    if not torch.cuda.is_available() or (device.index or 0) >= count:
        found = f"{count} CUDA device{'s' * (count != 1)}" if count else "no CUDA device"
        raise MeterError(
            f"CudaMeter cannot read {device}: torch finds {found} here; use one that is there, "
            "HostMeter() or TensorMeter()."
        )
    return torch.device(
        "cuda", torch.cuda.current_device() if device.index is None else device.index
    )
