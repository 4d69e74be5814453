"""A link that only takes the time of one: for teaching, and for tests without an accelerator."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Event, Thread
from typing import NamedTuple
from weakref import finalize

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.strategies.offload.link import Link, Mark

LOG_LENGTH = 10_000
"""The last so many transfers are remembered."""


class Transfer(NamedTuple):
    """One copy: its name, its bytes, and when it began and ended by `time.perf_counter`."""

    what: str
    nbytes: int
    began: float
    ended: float


@dataclass(eq=False)
class ArrivalMark(Mark):
    """Passed once the copy has been made."""

    event: Event = field(default_factory=Event)
    error: Exception | None = None

    @override
    def wait(self) -> None:
        """Hold this thread until then."""
        self.event.wait()
        if self.error is not None:
            raise self.error


class PassedMark(Mark):
    """Passed already: the CPU computes at once, so that all it was asked for is done."""

    @override
    def wait(self) -> None:
        """Go on at once."""


PASSED = PassedMark()


class CopyRequest(NamedTuple):
    """A copy that was asked for."""

    target: Tensor
    source: Tensor
    after: Mark
    arrival: ArrivalMark
    what: str
    given: float


class SimulatedLink(Link):
    """Copies between two places in the memory of the CPU, on a thread, at a given rate.

    Args:
        bandwidth: bytes in a second.

    Attributes:
        log: the last transfers.
    """

    def __init__(self, bandwidth: float) -> None:
        super().__init__(torch.device("cpu"))
        self.bandwidth = bandwidth
        self.log: deque[Transfer] = deque(maxlen=LOG_LENGTH)
        self._pinned: set[int] = set()
        self._requests: SimpleQueue[CopyRequest | None] = SimpleQueue()
        self._worker = Thread(
            target=_make_copies,
            args=(self._requests, bandwidth, self.log),
            name="dpnb simulated link",
            daemon=True,
        )
        self._stop = finalize(self, self._requests.put, None)
        self._worker.start()

    @override
    def _copy(self, target: Tensor, source: Tensor, after: Mark, what: str) -> Mark:
        arrival = ArrivalMark()
        self._requests.put(CopyRequest(target, source, after, arrival, what, time.perf_counter()))
        return arrival

    @override
    def mark(self) -> Mark:
        return PASSED

    @override
    def pin(self, memory: Tensor) -> None:
        """It is only counted."""
        self._pinned.add(memory.data_ptr())
        self.pinned += memory.numel()

    @override
    def unpin(self, memory: Tensor) -> None:
        if memory.data_ptr() in self._pinned:
            self._pinned.remove(memory.data_ptr())
            self.pinned -= memory.numel()

    @override
    def close(self) -> None:
        self._stop()
        self._worker.join()


def _make_copies(
    requests: SimpleQueue[CopyRequest | None], bandwidth: float, log: deque[Transfer]
) -> None:
    """Make one copy after the other. A link that is busy never rests between two of them."""
    free = 0.0
    while (request := requests.get()) is not None:
        try:
            request.after.wait()
            request.target.copy_(request.source)
            began = max(free, request.given)
            free = began + request.source.numel() / bandwidth
            time.sleep(max(free - time.perf_counter(), 0.0))
            log.append(Transfer(request.what, request.source.numel(), began, free))
        except Exception as error:
            request.arrival.error = error
        arrival = request.arrival
        del request  # whoever waits may free the memory next
        arrival.event.set()
