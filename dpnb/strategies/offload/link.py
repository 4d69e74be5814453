"""Between host and device: what copies weights over while the device computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from weakref import finalize

import torch
from torch import Tensor


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
