"""Which network has the device, how far it has come, and what of its weights may stay there."""

from __future__ import annotations

from dataclasses import dataclass, field

from dpnb.strategies.offload.blocks import room_for, spread
from dpnb.strategies.offload.packing import ALIGNMENT, PackedWeights
from dpnb.strategies.offload.ring import Ring
from dpnb.strategies.offload.streamed_network import StreamedNetwork, Track

STAYING = 2 / 3
"""The part of a budget beyond the least that keeps units: more helps where the link is slower than
the device computes, less where it is quicker. Found by computing schedules of SD 1.5 and XL."""


@dataclass
class Steps:
    """How far a run has come.

    Attributes:
        left: denoising steps after the present one.
        calls_before: calls of the network in the step before; 1 in the first.
        network: the network that denoises.
        calls: its calls in the present step so far.
    """

    left: int
    calls_before: int = 1
    network: StreamedNetwork | None = None
    calls: int = 0

    def next(self, left: int) -> Steps:
        """The step that follows."""
        return Steps(left, max(self.calls, 1), self.network)

    def count(self, network: StreamedNetwork) -> None:
        """A network is called."""
        self.network = self.network or network
        self.calls += network is self.network

    @property
    def ends(self) -> bool:
        """Whether the present call of the network is its last."""
        return self.left == 0 and self.calls >= self.calls_before


@dataclass
class Residency:
    """What a network has of the device while it is called.

    Attributes:
        network: the network.
        track: which of its methods; `None` for a part of it that is called by itself.
        residents: the weights that stay once they have come.
        ring: where the others pass through.
        at: the place in the track's order of the unit entered last.
        ahead: the place of the next one to bring in; it goes on beyond the last for a next call.
        seen: the weights entered so far.
    """

    network: StreamedNetwork
    track: Track | None
    residents: frozenset[PackedWeights]
    ring: Ring | None
    at: int = -1
    ahead: int = 0
    seen: list[PackedWeights] = field(default_factory=list)

    @property
    def order(self) -> list[PackedWeights]:
        """The weights in the order in which they are needed, as far as that is known."""
        return [] if self.track is None else self.track.order

    @property
    def is_known(self) -> bool:
        """Whether that order has been learnt."""
        return self.track is not None and self.track.is_known

    def enter(self, weights: PackedWeights) -> None:
        """Find `weights` in the order; what was expected instead is not waited for."""
        if not self.seen or self.seen[-1] is not weights:
            self.seen.append(weights)
        order = self.order
        if self.at + 1 < len(order) and order[self.at + 1] is weights:
            self.at += 1
            self.ahead = max(self.ahead, self.at + 1)
        elif self.at < 0 or order[self.at] is not weights:
            later = (i for i in range(self.at + 1, len(order)) if order[i] is weights)
            before = (i for i in range(len(order)) if order[i] is weights)
            self.restart(next(later, next(before, self.at)))

    def end(self) -> None:
        """The call is over: remember its order, and go to its beginning."""
        count = len(self.order)
        if self.track is not None and self.track.learn(self.seen):
            self.restart(-1)
        else:
            self.at, self.ahead = -1, max(self.ahead - count, 0)
        self.seen = []

    def restart(self, at: int) -> None:
        """Go on from there, and begin anew to bring in what follows."""
        self.at, self.ahead = at, at + 1
        if self.ring is not None:
            self.ring.release()


def share(order: list[PackedWeights], room: int) -> tuple[frozenset[PackedWeights], int]:
    """Which weights stay in `room` bytes, and how many of them are left for others to pass.

    Of what there is beyond two units, a part keeps units and the rest lets the link run ahead.

    Args:
        order: the weights of a network.
        room: bytes on the device.
    """
    sizes = [weights.nbytes for weights in order]
    if sum(sizes) <= room:
        return frozenset(order), 0
    beyond = max(room - room_for(sizes), 0)
    residents = [order[place] for place in spread(sizes, int(beyond * STAYING))]
    passing = room - sum(weights.nbytes for weights in residents)
    return frozenset(residents), passing // ALIGNMENT * ALIGNMENT


def demand(networks: list[StreamedNetwork]) -> tuple[int, int]:
    """Bytes on the device: with which these networks can stream, and with which each can stay."""
    small = sum(network.small.nbytes for network in networks)
    sizes = [[weights.nbytes for weights in network.weights] for network in networks]
    least = max((room_for(one) for one in sizes), default=0)
    return small + least, small + max((sum(one) for one in sizes), default=0)
