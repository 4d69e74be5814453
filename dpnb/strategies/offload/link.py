"""The interface of what copies weights from the host to a device while the device computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from weakref import finalize

import torch
from torch import Tensor


class Mark(ABC):
    """A point in the work of a device, as a CUDA event marks one."""

    @abstractmethod
    def wait(self) -> None:
        """Whatever is asked of the device next begins after this point."""


class Link(ABC):
    """Copies from the host to a device, beside what the device computes.

    Attributes:
        device: where weights go.
        held: bytes on the device that this link has allocated and that are still in use.
        peak: the most that `held` has been.
        moved: bytes copied so far.
        pinned: bytes of host memory that are pinned.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.held = self.peak = self.moved = self.pinned = 0

    def allocate(self, nbytes: int) -> Tensor:
        """Memory on the device, `[nbytes]` of uint8; it is freed with the last tensor in it."""
        with torch.inference_mode(False):
            memory = torch.empty(nbytes, dtype=torch.uint8, device=self.device)
        self.held += nbytes
        self.peak = max(self.peak, self.held)
        finalize(memory.untyped_storage(), self._free, nbytes)
        return memory

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
        """A mark at which all is done that the device has been asked to compute so far."""

    @abstractmethod
    def pin(self, memory: Tensor) -> None:
        """Pin host memory (page-lock it), so that the device reads it at full speed."""

    @abstractmethod
    def unpin(self, memory: Tensor) -> None:
        """Undo `pin`; nothing copies from this memory any more."""

    @abstractmethod
    def close(self) -> None:
        """Wait for what is under way, and end."""

    def _free(self, nbytes: int) -> None:
        self.held -= nbytes
