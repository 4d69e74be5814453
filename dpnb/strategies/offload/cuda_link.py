"""The link to a CUDA device: a stream of its own, events, and pinned memory."""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from weakref import finalize

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.strategies.offload.link import Link, Mark
from dpnb.units import format_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EventMark(Mark):
    """An event on a stream of a device."""

    event: torch.cuda.Event
    device: torch.device

    @override
    def wait(self) -> None:
        """Hold the current stream; the host goes on."""
        torch.cuda.current_stream(self.device).wait_event(self.event)


class CudaLink(Link):
    """Copies on a stream beside the one that computes; the host waits for neither.

    Args:
        device: a CUDA device, with its number.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._stream = torch.cuda.Stream(device)
        self._pinned: dict[int, Tensor] = {}
        self._may_pin = True
        self._end = finalize(self, _unpin_all, device, self._stream, self._pinned)

    @override
    def _copy(self, target: Tensor, source: Tensor, after: Mark, what: str) -> Mark:
        with torch.cuda.stream(self._stream):
            after.wait()
            target.copy_(source, non_blocking=True)
            return self.mark()

    @override
    def mark(self) -> Mark:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(self.device))
        return EventMark(event, self.device)

    @override
    def pin(self, memory: Tensor) -> None:
        """Where that fails, this is said once, and copies are slower."""
        if not self._may_pin or not memory.numel():
            return
        with torch.cuda.device(self.device):
            runtime = torch.cuda.cudart()
            result = runtime.cudaHostRegister(memory.data_ptr(), memory.numel(), 0)
        if int(result) != 0:
            self._may_pin = False
            _clear_error(self.device)
            logger.warning(
                "%s of host memory could not be pinned (CUDA error %d): weights come from pageable "
                "memory, which is slower. Raise the limit of locked memory (ulimit -l), or free "
                "host memory.",
                format_bytes(memory.numel()),
                int(result),
            )
            return
        self._pinned[memory.data_ptr()] = memory
        self.pinned += memory.numel()

    @override
    def unpin(self, memory: Tensor) -> None:
        if memory.data_ptr() in self._pinned:
            _unpin(self.device, self._stream, memory.data_ptr())
            del self._pinned[memory.data_ptr()]
            self.pinned -= memory.numel()

    @override
    def close(self) -> None:
        self._end()
        self.pinned = 0


def _unpin(device: torch.device, stream: torch.cuda.Stream, *addresses: int) -> None:
    with suppress(RuntimeError):  # a device that has failed copies nothing any more
        stream.synchronize()
    with torch.cuda.device(device):
        for address in addresses:
            torch.cuda.cudart().cudaHostUnregister(address)


def _unpin_all(device: torch.device, stream: torch.cuda.Stream, pinned: dict[int, Tensor]) -> None:
    _unpin(device, stream, *pinned)
    pinned.clear()


def _clear_error(device: torch.device) -> None:
    """CUDA keeps the error of a failed call and would report it at the next kernel."""
    try:
        torch.zeros(1, device=device)
    except RuntimeError:
        torch.zeros(1, device=device)
