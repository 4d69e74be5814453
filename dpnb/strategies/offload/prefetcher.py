"""What loads weights before their block computes.

A prefetcher lives as long as one network has the device. It follows a call of it through the order
of the blocks, which it learns where that is not known, and knows how far it has loaded ahead. It
asks the run's progress whether the network will be called again, and the device memory for room.
"""

from __future__ import annotations

from dpnb.strategies.offload.block_order import BlockOrder
from dpnb.strategies.offload.device_memory import DeviceMemory
from dpnb.strategies.offload.packing import PackedWeights
from dpnb.strategies.offload.run_progress import RunProgress
from dpnb.strategies.offload.streamed_network import StreamedNetwork

GUESSED_AHEAD = 2
"""While the order is not known yet, so many blocks are loaded ahead, where all may stay."""


class Prefetcher:
    """Loads the blocks of a network ahead of their use, as far as there is room.

    Args:
        network: that has the device.
        order: of the blocks of the method that is called; `None` for a part of the network that is
            called by itself.
        memory: of the device.
        progress: of the run.

    Attributes:
        network: that has the device.
        order: of its blocks.
    """

    def __init__(
        self,
        network: StreamedNetwork,
        order: BlockOrder | None,
        memory: DeviceMemory,
        progress: RunProgress,
    ) -> None:
        self.network, self.order = network, order
        self._memory, self._progress = memory, progress
        self._at = -1  # index in the order of the block that was entered last
        self._ahead = 0  # of the next one to load; it goes on beyond the last for a next call
        self._used: list[PackedWeights] = []

    def enter(self, weights: PackedWeights) -> None:
        """Find `weights` in the order; what was expected instead is not waited for."""
        if not self._used or self._used[-1] is not weights:
            self._used.append(weights)
        order, at = self._expected, self._at
        if at + 1 < len(order) and order[at + 1] is weights:
            self._at += 1
            self._ahead = max(self._ahead, self._at + 1)
        elif at < 0 or order[at] is not weights:
            later = (i for i in range(at + 1, len(order)) if order[i] is weights)
            before = (i for i in range(len(order)) if order[i] is weights)
            self._restart(next(later, next(before, at)))

    def end_call(self) -> None:
        """The call is over: remember its order, and go to its beginning."""
        count = len(self._expected)
        if self.order is not None and self.order.learn(self._used):
            self._restart(-1)
        else:
            self._at, self._ahead = -1, max(self._ahead - count, 0)
        self._used = []

    def abandon_call(self) -> None:
        """The call was broken off: nothing is learnt from it."""
        self._used = []
        self._restart(-1)

    def look_ahead(self) -> bool:
        """Load the blocks that follow, as far as there is room.

        Returns:
            Whether all of them have been asked for.
        """
        order, is_known = self._expected, self._is_known
        if not order:
            return False
        limit = self._limit(len(order))
        while self._ahead < limit:
            weights = order[self._ahead % len(order)]
            if not is_known and not self._memory.is_resident(weights):
                return False
            if not self._memory.prefetch(weights):
                return False
            self._ahead += 1
        return True

    def _limit(self, count: int) -> int:
        """How far to load ahead; indices beyond the last block are those of the next call."""
        if not self._is_known:
            return min(self._at + 1 + GUESSED_AHEAD, count)
        return self._at + 1 + count if self._progress.is_called_again(self.network) else count

    def _restart(self, at: int) -> None:
        """Go on from there, and begin anew to load what follows."""
        self._at, self._ahead = at, at + 1
        self._memory.release_prefetched()

    @property
    def _expected(self) -> list[PackedWeights]:
        return [] if self.order is None else self.order.weights

    @property
    def _is_known(self) -> bool:
        return self.order is not None and self.order.is_known
