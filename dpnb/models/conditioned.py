"""Networks whose timesteps and further conditions become one embedding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

Timing: TypeAlias = Callable[..., Tensor]
"""The network, its sample, the timestep and its conditions → the activated embedding."""


class Conditioned:
    """A denoising network; its slot `timing` decides how its embedding is made.

    The conditions are tensors, mappings of them, or `None`. What acts on the network's layers is
    made of the embedding by those that are `TimeConditioned`.
    """

    timing: Timing
    embed_time: Timing
    """The embedding, made anew: what fills the slot by default."""

    @property
    def embedders(self) -> list[nn.Module]:
        """The layers that make the embedding."""
        raise NotImplementedError
