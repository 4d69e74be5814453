"""Between host and device: what copies weights over while the device computes."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from weakref import finalize

import torch
from torch import Tensor

from dpnb.devices import best_device, numbered, parse_device
from dpnb.units import parse_bytes

SIMULATED = re.compile(r"simulated(?::(?P<rate>.+)/s)?")

SIMULATED_RATE = 12 * 10**9
"""Bytes in a second of a simulated link whose rate is not given: those of PCIe 3 x16."""


class Mark(ABC):
    """A point in the work of a device."""

    @abstractmethod
    def wait(self) -> None:
        """Whatever is asked of the device next begins after this point."""


class Link(ABC):
    """Copies from the host to a device, beside what the device computes.

    Attributes:
        device: where weights go.
        held: bytes on the device that this link has made room for and that are still in use.
        peak: the most that `held` has been.
        moved: bytes copied so far.
        pinned: bytes of host memory that are pinned.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.held = self.peak = self.moved = self.pinned = 0

    def room(self, nbytes: int) -> Tensor:
        """Memory on the device, `[nbytes]` of uint8; it is free again when the tensor is gone."""
        with torch.inference_mode(False):
            room = torch.empty(nbytes, dtype=torch.uint8, device=self.device)
        self.held += nbytes
        self.peak = max(self.peak, self.held)
        finalize(room.untyped_storage(), self._free, nbytes)
        return room

    def copy(self, target: Tensor, source: Tensor, after: Mark, what: str) -> Mark:
        """Copy in the background.

        Args:
            target: on the device.
            source: on the host, of the same size.
            after: the copy begins no sooner.
            what: a name for it.

        Returns:
            Where it will have arrived.
        """
        self.moved += source.numel()
        return self._copy(target, source, after, what)

    @abstractmethod
    def _copy(self, target: Tensor, source: Tensor, after: Mark, what: str) -> Mark: ...

    @abstractmethod
    def mark(self) -> Mark:
        """What the device has been asked to compute so far is done at this mark."""

    @abstractmethod
    def pin(self, memory: Tensor) -> None:
        """Keep host memory in its place, so that the device reads it at full speed."""

    @abstractmethod
    def unpin(self, memory: Tensor) -> None:
        """Let it go; nothing copies from it any more."""

    @abstractmethod
    def close(self) -> None:
        """Wait for what is under way, and end."""

    def _free(self, nbytes: int) -> None:
        self.held -= nbytes


def link_for(device: str | None) -> Link:
    """A link to a device.

    Args:
        device: as for `link_obstacle`.
    """
    if (rate := simulated_rate(device)) is not None:
        from dpnb.strategies.simulated_link import SimulatedLink

        return SimulatedLink(rate)
    from dpnb.strategies.cuda_link import CudaLink

    return CudaLink(numbered(target_device(device)))


def link_obstacle(device: str | None) -> str | None:
    """Why there is no link to a device, as a sentence; `None` where there is one.

    Args:
        device: `"cuda"` or `"cuda:1"`; `"simulated:8GiB/s"` for a link that only takes the time of
            one, between memory of the CPU; `None` for the accelerator of this machine.
    """
    if simulated_rate(device) is not None:
        return None
    target = target_device(device)
    if target.type == "cuda" and torch.cuda.is_available():
        count = torch.cuda.device_count()
        if (target.index or 0) < count:
            return None
        return f"There is no {target}; this machine has {count} CUDA devices, counted from 0."
    if device is None and target.type == "cpu":
        return (
            "There is no accelerator here, and offloading to the CPU would move nothing; leave it "
            'out, or try it on a simulated one with device="simulated:8GiB/s".'
        )
    if target.type == "cpu":
        return "Offloading to the CPU would move nothing; choose an accelerator such as cuda."
    return f"Offloading needs a CUDA device that is there; {target} is not."


def target_device(device: str | None) -> torch.device:
    """Where tensors of this device are: for a simulated one, on the CPU.

    Raises:
        ValueError: there is no such kind of device.
    """
    if simulated_rate(device) is not None:
        return torch.device("cpu")
    return best_device() if device is None else parse_device(device)


def simulated_rate(device: str | None) -> int | None:
    """Bytes in a second of the simulated link of this name; `None` for another device.

    Raises:
        ValueError: the rate is none.
    """
    match = None if device is None else SIMULATED.fullmatch(device)
    if match is None:
        return None
    rate = SIMULATED_RATE if match["rate"] is None else parse_bytes(match["rate"])
    if rate == 0:
        raise ValueError(f"{device!r} moves nothing; give a rate, as in 'simulated:8GiB/s'.")
    return rate
