"""How device memory is divided while one network has the device.

A layout knows which weights are resident, each in memory of its own, and the ring through which the
others pass. It finds room for a copy, and asks the link for memory; it copies nothing.
"""

from __future__ import annotations

from dpnb.strategies.offload.device_copy import DeviceCopy
from dpnb.strategies.offload.link import Link
from dpnb.strategies.offload.packing import PackedWeights, Views
from dpnb.strategies.offload.ring import Ring


class MemoryLayout:
    """Resident weights and a ring for all others.

    Args:
        link: to the device.
        residents: the weights that stay once they have come.
        ring_nbytes: of the ring; 0 for none.
    """

    def __init__(
        self,
        link: Link,
        residents: frozenset[PackedWeights] = frozenset(),
        ring_nbytes: int = 0,
    ) -> None:
        self.residents = residents
        self._link = link
        self._ring = Ring(link.allocate(ring_nbytes), link.mark()) if ring_nbytes else None

    def find_room(
        self, weights: PackedWeights, *, now: bool
    ) -> tuple[DeviceCopy, list[DeviceCopy]] | None:
        """Room for `weights`, and the copies that will be overwritten there.

        Args:
            weights: what comes.
            now: they are needed at once, so that others that were prefetched may go.

        Returns:
            `None` where there is no room before a block has computed.
        """
        if weights in self.residents:
            return self.allocate(weights, is_resident=True), []
        return None if self._ring is None else self._ring.reserve(weights, now=now)

    def allocate(self, weights: PackedWeights, *, is_resident: bool) -> DeviceCopy:
        """Room in memory of its own."""
        memory, after = self._link.allocate(weights.nbytes), self._link.mark()
        return DeviceCopy(weights, memory, 0, after, is_resident)

    def is_in_ring(self, copy: DeviceCopy) -> bool:
        """Whether the ring holds `copy`, where it may stay until it is overwritten."""
        return self._ring is not None and copy.memory is self._ring.memory

    def views_of(self, copy: DeviceCopy) -> Views:
        """The tensors of a copy."""
        if self._ring is not None and copy.memory is self._ring.memory:
            return self._ring.views_of(copy)
        return copy.weights.make_views(copy.memory, 0)

    def release_prefetched(self) -> None:
        """What was prefetched into the ring may be overwritten."""
        if self._ring is not None:
            self._ring.release_prefetched()
