"""Clocks of the host and of CUDA devices, for which nothing has to wait."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch

from dpnb.devices import Device, parse_device


class Clock(Protocol):
    """Marks moments, and says later how many seconds lay between two of them."""

    @property
    def label(self) -> str:
        """What is measured, in words."""
        ...

    def mark(self) -> Any:
        """The present moment."""
        ...

    def seconds(self, start: Any, end: Any) -> float:
        """Seconds between two marks."""
        ...

    def host_time(self, mark: Any) -> float:
        """When the host made `mark`, in seconds of `time.perf_counter`."""
        ...

    def wait(self, mark: Any) -> None:
        """Return when the device has reached `mark`."""
        ...


class HostClock:
    """Time as it passes for this process."""

    label: ClassVar = "the host's clock"

    def mark(self) -> float:
        """Seconds of `time.perf_counter`."""
        return time.perf_counter()

    def seconds(self, start: float, end: float) -> float:
        """Seconds between two marks."""
        return end - start

    def host_time(self, mark: float) -> float:
        """The mark itself."""
        return mark

    def wait(self, mark: float) -> None:
        """The moment has passed."""


@dataclass(frozen=True)
class CudaMark:
    """An event in a CUDA stream, and the host's time when it was recorded."""

    event: torch.cuda.Event
    time: float


class CudaClock:
    """Time as it passes on a CUDA device, by events in its current stream.

    The host runs ahead of the device and is never made to wait. Until the device has passed a mark,
    the host's time stands in for it.

    Args:
        device: which one.
    """

    label: ClassVar = "CUDA events"

    def __init__(self, device: Device) -> None:
        self._device = parse_device(device)

    def mark(self) -> CudaMark:
        """Record an event."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return CudaMark(event, time.perf_counter())

    def seconds(self, start: CudaMark, end: CudaMark) -> float:
        """Seconds between two marks."""
        if not (start.event.query() and end.event.query()):
            return end.time - start.time
        return float(start.event.elapsed_time(end.event)) / 1e3

    def host_time(self, mark: CudaMark) -> float:
        """When the host recorded the event, in seconds of `time.perf_counter`."""
        return mark.time

    def wait(self, mark: CudaMark) -> None:
        """Block until the device has reached `mark`."""
        mark.event.synchronize()


def clock_for(device: Device) -> Clock:
    """The clock of `device`: CUDA events there, and the host's clock elsewhere."""
    place = parse_device(device)
    return CudaClock(place) if place.type == "cuda" else HostClock()
