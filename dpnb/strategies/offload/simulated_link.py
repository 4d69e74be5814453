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

LOGGED = 10_000
"""The last so many transfers are remembered."""


class Transfer(NamedTuple):
    """One copy: its name, its bytes, and when it began and ended by `time.perf_counter`."""

    what: str
    nbytes: int
    began: float
    ended: float


@dataclass(eq=False)
class Arrival(Mark):
    """Passed once the copy has been made."""

    event: Event = field(default_factory=Event)
    error: Exception | None = None

    @override
    def wait(self) -> None:
        """Hold this thread until then."""
        self.event.wait()
        if self.error is not None:
            raise self.error


class Past(Mark):
    """The CPU computes at once, so that all it was asked for is done."""

    @override
    def wait(self) -> None:
        """Go on."""


PAST = Past()


class Order(NamedTuple):
    """A copy that is to be made."""

    target: Tensor
    source: Tensor
    after: Mark
    arrival: Arrival
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
        self.log: deque[Transfer] = deque(maxlen=LOGGED)
        self._pinned: set[int] = set()
        self._orders: SimpleQueue[Order | None] = SimpleQueue()
        self._worker = Thread(
            target=_serve,
            args=(self._orders, bandwidth, self.log),
            name="dpnb simulated link",
            daemon=True,
        )
        self._stop = finalize(self, self._orders.put, None)
        self._worker.start()

    @override
    def _copy(self, target: Tensor, source: Tensor, after: Mark, what: str) -> Mark:
        arrival = Arrival()
        self._orders.put(Order(target, source, after, arrival, what, time.perf_counter()))
        return arrival

    @override
    def mark(self) -> Mark:
        return PAST

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


def _serve(orders: SimpleQueue[Order | None], bandwidth: float, log: deque[Transfer]) -> None:
    """Carry out one order after the other. A link that is busy never rests between two of them."""
    free = 0.0
    while (order := orders.get()) is not None:
        try:
            order.after.wait()
            order.target.copy_(order.source)
            began = max(free, order.given)
            free = began + order.source.numel() / bandwidth
            time.sleep(max(free - time.perf_counter(), 0.0))
            log.append(Transfer(order.what, order.source.numel(), began, free))
        except Exception as error:
            order.arrival.error = error
        arrival = order.arrival
        del order  # whoever waits may free the memory next
        arrival.event.set()
