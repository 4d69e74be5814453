"""A ring buffer on the device through which weights pass, one after the other and round again."""

from __future__ import annotations

from torch import Tensor

from dpnb.strategies.offload.device_copy import DeviceCopy
from dpnb.strategies.offload.link import Mark
from dpnb.strategies.offload.packing import PackedWeights, Views


class Ring:
    """Device memory of a fixed size. What comes in overwrites what came first.

    Args:
        memory: on the device.
        after: what must be over before anything is copied there.
    """

    def __init__(self, memory: Tensor, after: Mark) -> None:
        self.memory = memory
        self._copies: list[DeviceCopy] = []
        self._after = after
        self._head = 0
        self._views: dict[tuple[PackedWeights, int], Views] = {}

    def reserve(
        self, weights: PackedWeights, *, now: bool
    ) -> tuple[DeviceCopy, list[DeviceCopy]] | None:
        """Room for `weights`, and the copies that will be overwritten there.

        Args:
            weights: what comes.
            now: they are needed at once, so that others that were prefetched may go.

        Returns:
            `None` where those in the way are still needed.
        """
        size = weights.nbytes
        starts = [self._head if self._head + size <= self.memory.numel() else 0]
        if now:
            starts += [0, *(copy.stop for copy in self._copies)]
        for start in starts:
            met = [c for c in self._copies if c.start < start + size and start < c.stop]
            if start + size <= self.memory.numel() and not any(_is_needed(c, now) for c in met):
                return self._overwrite(met, weights, start), met
        return None

    def views_of(self, copy: DeviceCopy) -> Views:
        """The tensors of a copy in this ring; they are made once for every place."""
        key = (copy.weights, copy.start)
        if key not in self._views:
            self._views[key] = copy.weights.make_views(self.memory, copy.start)
        return self._views[key]

    def release_prefetched(self) -> None:
        """What was prefetched may be overwritten."""
        for copy in self._copies:
            copy.is_prefetched = False

    def _overwrite(
        self, former: list[DeviceCopy], weights: PackedWeights, start: int
    ) -> DeviceCopy:
        uses = [copy.last_use for copy in former if copy.last_use is not None]
        after = max(uses, key=lambda use: use[0])[1] if uses else self._after
        copy = DeviceCopy(weights, self.memory, start, after, is_resident=False)
        self._copies = [other for other in self._copies if other not in former]
        self._copies.append(copy)
        self._head = copy.stop
        return copy


def _is_needed(copy: DeviceCopy, now: bool) -> bool:
    return copy.use_count > 0 or (copy.is_prefetched and not now)
