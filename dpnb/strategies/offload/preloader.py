"""What loads the network that follows while the one that denoises is called for the last time.

The preloader knows the networks in the order of their use and the limit of device memory. It asks
the device memory how much is in use there, and loads no more than fits beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

from dpnb.strategies.offload.budget import compute_block_memory
from dpnb.strategies.offload.device_memory import DeviceMemory
from dpnb.strategies.offload.streamed_network import StreamedNetwork


class Preloader:
    """Loads a network before it is called.

    Args:
        networks: in the order of their use.
        memory: of the device.
        limit: bytes of weights on the device.
    """

    def __init__(
        self, networks: Sequence[StreamedNetwork], memory: DeviceMemory, limit: int
    ) -> None:
        self._networks, self._memory, self._limit = networks, memory, limit

    def load_next(self, network: StreamedNetwork) -> None:
        """Load the network after this one, as far as it finds room beside what is left of it."""
        following = self._networks[self._networks.index(network) + 1 :]
        order = following[0].latest_order if following else None
        if order is None or not order.is_known:
            return
        wanted = list(dict.fromkeys(order.weights))
        room = compute_block_memory(self._networks, self._limit)
        if sum(weights.nbytes for weights in wanted) > room:
            return
        waiting = [other for other in self._networks if not other.are_small_tensors_loaded]
        reserved = sum(other.small_tensors.nbytes for other in waiting)
        for weights in wanted:
            if weights not in self._memory.copies:
                if self._memory.held + reserved + weights.nbytes > self._limit:
                    return
                self._memory.preload(weights)
