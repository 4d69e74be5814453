"""The copy of a block's weights on the device."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dpnb.strategies.offload.link import Mark
from dpnb.strategies.offload.packing import PackedWeights


@dataclass(eq=False)
class DeviceCopy:
    """Device memory that one block's weights are copied to.

    Attributes:
        weights: on the host.
        memory: the piece of device memory that it lies in.
        start: its first byte in `memory`.
        after: what must be over before weights are copied here.
        is_resident: whether it stays when the block has computed.
        arrival: when the weights have come; `None` once that has been waited for.
        last_use: when the block had been computed for the last time, with a number that grows.
        is_prefetched: loaded for a block that has not been entered yet.
        use_count: how many calls are inside the block.
    """

    weights: PackedWeights
    memory: Tensor
    start: int
    after: Mark
    is_resident: bool
    arrival: Mark | None = None
    last_use: tuple[int, Mark] | None = None
    is_prefetched: bool = False
    use_count: int = 0

    @property
    def stop(self) -> int:
        """The byte behind its last."""
        return self.start + self.weights.nbytes

    @property
    def target(self) -> Tensor:
        """Its bytes on the device."""
        return self.memory[self.start : self.stop]

    def wait(self) -> None:
        """Whatever is asked of the device next begins after the weights have come."""
        if self.arrival is not None:
            self.arrival.wait()
            self.arrival = None
