"""Room on the device through which weights pass, one after the other and round again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dpnb.strategies.offload.link import Mark
from dpnb.strategies.offload.packing import PackedWeights, Views


@dataclass(eq=False)
class Place:
    """Where a pack of weights is on the device.

    Attributes:
        start: its first byte in `memory`.
        after: what must be over before weights are copied here.
        arrival: when they have come; `None` once that has been waited for.
        left: when the unit had been computed for the last time, with a number that grows.
        is_awaited: brought in for a unit that has not been entered yet.
        entered: how many calls are inside the unit.
        stays: whether it stays when the unit is left.
    """

    weights: PackedWeights
    memory: Tensor
    start: int
    after: Mark
    stays: bool
    arrival: Mark | None = None
    left: tuple[int, Mark] | None = None
    is_awaited: bool = False
    entered: int = 0

    @property
    def stop(self) -> int:
        """The byte behind its last."""
        return self.start + self.weights.nbytes

    @property
    def target(self) -> Tensor:
        """Its bytes on the device."""
        return self.memory[self.start : self.stop]


class Ring:
    """Memory of a fixed size. Who comes takes the place of those who came first.

    Args:
        memory: on the device.
        after: what must be over before anything is copied there.
    """

    def __init__(self, memory: Tensor, after: Mark) -> None:
        self.memory = memory
        self.places: list[Place] = []
        self._after = after
        self._head = 0
        self._views: dict[tuple[PackedWeights, int], Views] = {}

    def find(self, weights: PackedWeights, *, now: bool) -> tuple[Place, list[Place]] | None:
        """A place for `weights`, and the places that it takes the room of.

        Args:
            weights: what comes.
            now: they are needed at once, so that others that were brought in ahead may go.

        Returns:
            `None` where those in the way are still needed.
        """
        size = weights.nbytes
        starts = [self._head if self._head + size <= self.memory.numel() else 0]
        if now:
            starts += [0, *(place.stop for place in self.places)]
        for start in starts:
            met = [p for p in self.places if p.start < start + size and start < p.stop]
            if start + size <= self.memory.numel() and not any(_is_needed(p, now) for p in met):
                return self._take(weights, start, met), met
        return None

    def views(self, place: Place) -> Views:
        """The tensors there; they are made once for every place."""
        key = (place.weights, place.start)
        if key not in self._views:
            self._views[key] = place.weights.views(self.memory, place.start)
        return self._views[key]

    def release(self) -> None:
        """Nothing is awaited any more."""
        for place in self.places:
            place.is_awaited = False

    def _take(self, weights: PackedWeights, start: int, met: list[Place]) -> Place:
        left = [place.left for place in met if place.left is not None]
        after = max(left, key=lambda pair: pair[0])[1] if left else self._after
        place = Place(weights, self.memory, start, after, stays=False)
        self.places = [other for other in self.places if other not in met]
        self.places.append(place)
        self._head = place.stop
        return place


def _is_needed(place: Place, now: bool) -> bool:
    return place.entered > 0 or (place.is_awaited and not now)
