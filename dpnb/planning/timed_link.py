"""A link that moves nothing and keeps the time, for runs that are only predicted."""

from __future__ import annotations

from dataclasses import dataclass
from weakref import finalize

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.planning.card_replay import CardReplay
from dpnb.planning.device_profile import DeviceProfile
from dpnb.strategies.offload.link import Link, Mark


class TimedLink(Link):
    """A link that copies nothing, and says how long copies would have taken.

    Args:
        profile: of the device.
        card: where a card's memory is reckoned, if it is.

    Attributes:
        now: seconds that the device has worked and waited.
        waited: seconds of these in which it waited for copies.
    """

    def __init__(self, profile: DeviceProfile, card: CardReplay | None = None) -> None:
        super().__init__(torch.device("cpu"))
        self.now = self.waited = 0.0
        self._rate = profile.link or float("inf")
        self._is_asynchronous = profile.is_asynchronous
        self._transfer = profile.transfer
        self._busy_until = 0.0
        self._card = card

    @override
    def allocate(self, nbytes: int) -> Tensor:
        memory = super().allocate(nbytes)
        if self._card is not None:
            block = self._card.allocator.allocate(nbytes)
            finalize(memory.untyped_storage(), self._card.allocator.free, block)
        return memory

    @override
    def _copy(self, target: Tensor, source: Tensor, after: Mark, what: str) -> Mark:
        issued = 0.0 if self._is_asynchronous else self.now
        self.now += self._transfer
        earliest = after.at if isinstance(after, Instant) else 0.0
        self._busy_until = max(self._busy_until, issued, earliest) + target.numel() / self._rate
        self.moved += target.numel()
        return Instant(self, self._busy_until)

    @override
    def mark(self) -> Mark:
        return Instant(self, self.now)

    @override
    def pin(self, memory: Tensor) -> None:
        """There is nothing to pin."""

    @override
    def unpin(self, memory: Tensor) -> None:
        pass

    @override
    def close(self) -> None:
        pass


@dataclass(eq=False)
class Instant(Mark):
    """A time of a `TimedLink`, in seconds."""

    link: TimedLink
    at: float

    @override
    def wait(self) -> None:
        """The device does nothing until then."""
        if self.at > self.link.now:
            self.link.waited += self.at - self.link.now
            self.link.now = self.at
