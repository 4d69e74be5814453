"""The base of denoising networks whose timestep and further conditions become one embedding."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeAlias

from torch import Tensor, nn

TimeEmbedder: TypeAlias = Callable[..., Tensor]
"""The network, its sample, the timestep and its conditions → the activated embedding."""


class TimeConditionedModel:
    """A denoising network; its slot `time_embedder` decides how its embedding is made.

    The conditions are tensors, mappings of them, or `None`. The embedding is an input of the layers
    that are `TimeConditioned`.
    """

    time_embedder: TimeEmbedder
    embed_time: TimeEmbedder
    """Compute the embedding, `[batch, channels]`: what fills the slot by default."""

    def cache_context(self, name: str) -> AbstractContextManager[None]:
        """Nothing: other libraries' networks keep what a branch of guidance has computed apart.

        Args:
            name: of the branch.
        """
        return nullcontext()

    @property
    def embedding_layers(self) -> list[nn.Module]:
        """The layers that make the embedding."""
        raise NotImplementedError
