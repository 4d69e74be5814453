"""The engine under offloading: weights stream to the device while it computes.

Weights live on the host, packed and pinned, and are copied in one direction only. While one unit
computes, those that follow it come in beside. Their order is learnt from the first call of a
method, and learnt again when it changes.

What is changed by hand between two runs counts in the next: every run brings its weights anew. A
call outside of a run is a run of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from typing_extensions import override

from dpnb.strategies.fair_lock import FairLock
from dpnb.strategies.offload.link import Link, Mark
from dpnb.strategies.offload.packing import PackedWeights
from dpnb.strategies.offload.residency import Residency, Steps, demand, share
from dpnb.strategies.offload.ring import Place, Ring
from dpnb.strategies.offload.streamed_network import StreamedNetwork, Track
from dpnb.strategies.run_watcher import RunWatcher

GUESSED = 2
"""While the order is not known yet, so many units are brought in ahead, where all find room."""


class Streaming(RunWatcher):
    """Brings weights in when they are needed, and those that follow them ahead of that.

    Args:
        link: to the device.
        networks: in the order of their use; the one that is called has the device.
        limit: bytes of weights on the device; where less is needed at the least, so much is taken.
        lock: held while a network is called.
    """

    def __init__(
        self, link: Link, networks: list[StreamedNetwork], limit: int, lock: FairLock
    ) -> None:
        self.link = link
        self.networks = networks
        self.limit = limit
        self.lock = lock
        self.is_running = False
        self.places: dict[PackedWeights, Place] = {}
        self.residency: Residency | None = None
        self._steps: Steps | None = None
        self._caller: tuple[StreamedNetwork, str] | None = None
        self._depth = 0
        self._alone = 0
        self._latest: Mark | None = None
        self._marks = 0

    @property
    def room(self) -> int:
        """Bytes for the units of the network that is called."""
        least, _ = demand(self.networks)
        return max(self.limit, least) - sum(network.small.nbytes for network in self.networks)

    # --- runs and calls ---

    @override
    def begin(self) -> None:
        self.settle()
        self.is_running = True

    @override
    def before_step(self, index: int, total: int) -> None:
        left = total - index - 1
        self._steps = Steps(left) if self._steps is None else self._steps.next(left)

    @override
    def end(self) -> None:
        self.is_running = False
        self.settle()

    @contextmanager
    def call(self, network: StreamedNetwork, method: str) -> Iterator[None]:
        """A call of a network from outside takes place within; other threads wait."""
        with self.lock.hold(), self._counted(network, method):
            yield

    @contextmanager
    def _counted(self, network: StreamedNetwork, method: str) -> Iterator[None]:
        self._depth += 1
        try:
            if self._depth > 1:
                yield
                return
            self._open(network, method)
            yield
            self._close(network, method)
        except BaseException:
            if self._depth == 1:
                self._abandon()
            raise
        finally:
            self._depth -= 1

    def _open(self, network: StreamedNetwork, method: str) -> None:
        if not self.is_running:
            self.settle()
        if self._steps is not None:
            self._steps.count(network)
        self._caller = (network, method)

    def _close(self, network: StreamedNetwork, method: str) -> None:
        if self.residency is not None and self.residency.track is network.track(method):
            self.residency.end()
        if not self.is_running:
            self.settle()
        elif self._is_stepping and not self._is_last_call:
            self._look_ahead()

    def _abandon(self) -> None:
        """A call was broken off: what was entered is left."""
        for place in list(self.places.values()):
            if place.entered:
                place.entered = 0
                self._leave(place, firmly=True)
        if self.residency is not None:
            self.residency.seen = []
            self.residency.restart(-1)
        if not self.is_running:
            self.settle()

    def settle(self) -> None:
        """Nothing is on the device any more, and every parameter is on the host."""
        self._await_copies()
        for place in self.places.values():
            place.weights.recall(firmly=place.entered > 0)
        self.places.clear()
        self.residency = self._steps = self._caller = None
        self._alone = 0
        for network in self.networks:
            network.depart()

    # --- units ---

    def enter(self, network: StreamedNetwork, module: nn.Module) -> None:
        """A unit is about to compute: its weights are on the device when it does."""
        if not self.is_running and not self._depth:
            if not self._alone:
                self.settle()
            self._alone += 1
        network.arrive(self.link, self)
        weights = network.packs.get(module)
        if weights is None:
            return
        residency = self._take_turn(network)
        if self._depth and residency is not None:
            residency.enter(weights)
        self._use(weights)
        self._look_ahead()

    def leave(self, network: StreamedNetwork, module: nn.Module) -> None:
        """A unit has computed, or failed to."""
        weights = network.packs.get(module)
        place = None if weights is None else self.places.get(weights)
        if place is not None and place.entered:
            place.entered -= 1
            if not place.entered:
                self._leave(place)
                self._look_ahead()
        if not self.is_running and not self._depth:
            self._alone -= 1
            if self._alone <= 0:
                self.settle()

    def _use(self, weights: PackedWeights) -> None:
        place = self._fetch(weights, now=True)
        assert place is not None
        place.is_awaited = False
        place.entered += 1
        if place.arrival is not None:
            place.arrival.wait()
            place.arrival = None
        if not weights.is_lent:
            ring = self._ring_of(place)
            views = weights.views(place.memory, 0) if ring is None else ring.views(place)
            weights.lend(views)

    def _leave(self, place: Place, *, firmly: bool = False) -> None:
        self._marks += 1
        place.left = (self._marks, self.link.mark())
        if not place.stays:
            place.weights.recall(firmly=firmly)
            if self._ring_of(place) is None:
                del self.places[place.weights]
        elif self._is_last_call:
            self._forget(place.weights)

    # --- places ---

    def _take_turn(self, network: StreamedNetwork) -> Residency | None:
        """Give the device to the network that is called; `None` where another one keeps it."""
        caller, method = self._caller or (network, None)
        if caller is not network:
            return None
        track = None if method is None else network.track(method)
        is_its = self.residency is not None and self.residency.network is network
        is_same = self.residency is not None and track in (None, self.residency.track)
        is_busy = any(place.entered for place in self.places.values())
        if not (is_its and is_same) and not is_busy:
            self._hand_over(network, track)
            return self.residency
        return self.residency if is_its else None

    def _hand_over(self, network: StreamedNetwork, track: Track | None) -> None:
        """What the former network had is free before the next one takes room."""
        order = track.order if track is not None and track.is_known else network.weights
        residents, passing = share(list(dict.fromkeys(order)), self.room)
        self._await_copies()
        for weights in [weights for weights in self.places if weights not in residents]:
            self._forget(weights)
        self.residency = None
        ring = Ring(self.link.room(passing), self.link.mark()) if passing else None
        self.residency = Residency(network, track, residents, ring)

    def _fetch(self, weights: PackedWeights, *, now: bool) -> Place | None:
        """Where `weights` are or will be; `None` where there is no room for what comes ahead."""
        place = self.places.get(weights)
        if place is None:
            place = self._find(weights, now=now)
            if place is None:
                return None
            self._bring(place)
        place.is_awaited = True
        return place

    def _find(self, weights: PackedWeights, *, now: bool) -> Place | None:
        residency = self.residency
        if residency is not None and weights in residency.residents:
            return self._separate(weights, stays=True)
        if residency is not None and residency.ring is not None:
            found = residency.ring.find(weights, now=now)
            if found is not None:
                place, former = found
                for other in former:
                    del self.places[other.weights]
                return place
        return self._separate(weights, stays=False) if now else None

    def _separate(self, weights: PackedWeights, *, stays: bool) -> Place:
        """A place in memory of its own."""
        return Place(weights, self.link.room(weights.nbytes), 0, self.link.mark(), stays)

    def _bring(self, place: Place) -> None:
        weights = place.weights
        place.arrival = self.link.copy(place.target, weights.host, place.after, weights.name)
        self._latest = place.arrival
        self.places[weights] = place

    def _forget(self, weights: PackedWeights) -> None:
        weights.recall()
        del self.places[weights]

    def _ring_of(self, place: Place) -> Ring | None:
        ring = None if self.residency is None else self.residency.ring
        return ring if ring is not None and place.memory is ring.memory else None

    def _await_copies(self) -> None:
        """Memory that is freed next may be used again only after copies that still write there."""
        latest, self._latest = self._latest, None
        if latest is not None:
            latest.wait()

    # --- ahead ---

    def _look_ahead(self) -> None:
        """Bring in what follows, as far as there is room."""
        residency = self.residency
        if residency is None or not residency.order:
            return
        order, count = residency.order, len(residency.order)
        limit = count
        if not residency.is_known:
            limit = min(residency.at + 1 + GUESSED, count)
        elif self._is_stepping and not self._is_last_call:
            limit = residency.at + 1 + count
        while residency.ahead < limit:
            weights = order[residency.ahead % count]
            if not residency.is_known and weights not in residency.residents:
                return
            if self._fetch(weights, now=False) is None:
                return
            residency.ahead += 1
        if self._is_last_call:
            self._prepare(residency.network)

    @property
    def _is_stepping(self) -> bool:
        """Whether the network that denoises has the device."""
        steps, residency = self._steps, self.residency
        return steps is not None and residency is not None and steps.network is residency.network

    @property
    def _is_last_call(self) -> bool:
        """Whether it is called for the last time in this run."""
        return self._is_stepping and self._steps is not None and self._steps.ends

    def _prepare(self, network: StreamedNetwork) -> None:
        """Bring in the network after this one, as far as it finds room beside what is left."""
        following = self.networks[self.networks.index(network) + 1 :]
        track = following[0].latest if following else None
        if track is None or not track.is_known:
            return
        wanted = list(dict.fromkeys(track.order))
        if sum(weights.nbytes for weights in wanted) > self.room:
            return
        reserved = sum(other.small.nbytes for other in self.networks if not other.is_here)
        for weights in wanted:
            if weights not in self.places:
                if self.link.held + reserved + weights.nbytes > self.limit:
                    return
                self._bring(self._separate(weights, stays=True))
