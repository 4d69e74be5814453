"""Which blocks have their weights on the device.

The device memory knows every copy of a block's weights there, how many calls use it, and the copy
that was asked for last. It asks the layout for room and the link for copies, and lets parameters be
views of a copy while their block computes. What comes when is decided elsewhere.
"""

from __future__ import annotations

from dpnb.strategies.offload.budget import divide_memory
from dpnb.strategies.offload.device_copy import DeviceCopy
from dpnb.strategies.offload.link import Link, Mark
from dpnb.strategies.offload.memory_layout import MemoryLayout
from dpnb.strategies.offload.packing import PackedWeights


class DeviceMemory:
    """The copies of weights on the device.

    Args:
        link: to the device.

    Attributes:
        copies: by the weights that they are copies of.
    """

    def __init__(self, link: Link) -> None:
        self.copies: dict[PackedWeights, DeviceCopy] = {}
        self._link = link
        self._layout = MemoryLayout(link)
        self._latest: Mark | None = None
        self._uses = 0

    @property
    def held(self) -> int:
        """Bytes on the device that are in use, with all else that came over this link."""
        return self._link.held

    @property
    def is_in_use(self) -> bool:
        """Whether any block computes with weights on the device."""
        return any(copy.use_count for copy in self.copies.values())

    def is_resident(self, weights: PackedWeights) -> bool:
        """Whether these weights stay on the device once they have come."""
        return weights in self._layout.residents

    def give_to(self, order: list[PackedWeights], nbytes: int) -> None:
        """Give `nbytes` to other weights. Former ones are freed before room is made for these.

        Args:
            order: the weights, each once.
            nbytes: for their copies.
        """
        residents, ring_nbytes = divide_memory(order, nbytes)
        self._await_copies()
        for weights in [weights for weights in self.copies if weights not in residents]:
            self._drop(weights)
        # The former ring is freed before the next one takes its room.
        self._layout = MemoryLayout(self._link)
        self._layout = MemoryLayout(self._link, residents, ring_nbytes)

    def clear(self) -> None:
        """Free all memory for blocks; their parameters are on the host."""
        self._await_copies()
        for copy in self.copies.values():
            copy.weights.point_to_host(force=copy.use_count > 0)
        self.copies.clear()
        self._layout = MemoryLayout(self._link)

    # --- loading ahead ---

    def prefetch(self, weights: PackedWeights) -> bool:
        """Load `weights` for a block that computes later; whether there is room for them."""
        copy = self.copies.get(weights)
        if copy is None:
            room = self._layout.find_room(weights, now=False)
            if room is None:
                return False
            copy = self._load(*room)
        copy.is_prefetched = True
        return True

    def preload(self, weights: PackedWeights) -> None:
        """Load `weights` of a network that is called later, in memory of their own."""
        self._load(self._layout.allocate(weights, is_resident=True), [])

    def release_prefetched(self) -> None:
        """What was prefetched is not waited for any more, and may be overwritten."""
        self._layout.release_prefetched()

    # --- while blocks compute ---

    def enter(self, weights: PackedWeights) -> None:
        """A block computes next: its weights are on the device, loaded now where they were not."""
        copy = self.copies.get(weights)
        if copy is None:
            room = self._layout.find_room(weights, now=True)
            copy = self._load(*room or (self._layout.allocate(weights, is_resident=False), []))
        copy.is_prefetched = False
        copy.use_count += 1
        copy.wait()
        if not weights.is_on_device:
            weights.point_to_device(self._layout.views_of(copy))

    def leave(self, weights: PackedWeights, *, keeps_residents: bool) -> bool:
        """A block has computed; whether no other call is inside it.

        Args:
            weights: of the block.
            keeps_residents: whether resident weights stay.
        """
        copy = self.copies.get(weights)
        if copy is None or not copy.use_count:
            return False
        copy.use_count -= 1
        if copy.use_count:
            return False
        self._release(copy, keeps_residents=keeps_residents)
        return True

    def leave_all(self, *, keeps_residents: bool) -> None:
        """A call was broken off: no block computes any more."""
        for copy in list(self.copies.values()):
            if copy.use_count:
                copy.use_count = 0
                self._release(copy, keeps_residents=keeps_residents, force=True)

    def _release(self, copy: DeviceCopy, *, keeps_residents: bool, force: bool = False) -> None:
        self._uses += 1
        copy.last_use = (self._uses, self._link.mark())
        if not copy.is_resident:
            copy.weights.point_to_host(force=force)
            if not self._layout.is_in_ring(copy):
                del self.copies[copy.weights]
        elif not keeps_residents:
            self._drop(copy.weights)

    def _load(self, copy: DeviceCopy, overwritten: list[DeviceCopy]) -> DeviceCopy:
        for other in overwritten:
            del self.copies[other.weights]
        weights = copy.weights
        copy.arrival = self._link.copy(copy.target, weights.memory, copy.after, weights.name)
        self._latest = copy.arrival
        self.copies[weights] = copy
        return copy

    def _drop(self, weights: PackedWeights) -> None:
        weights.point_to_host()
        del self.copies[weights]

    def _await_copies(self) -> None:
        """Memory that is freed next may be used again only after copies that still write there."""
        latest, self._latest = self._latest, None
        if latest is not None:
            latest.wait()
