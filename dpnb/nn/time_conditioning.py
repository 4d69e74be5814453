"""The base of layers that take the time embedding as an input."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

TimeProjection: TypeAlias = Callable[["TimeConditioned", Tensor], Tensor]
"""A layer and the activated time embedding `[batch, time_dim]` → vectors `[batch, channels]`."""


def project_time(layer: TimeConditioned, time: Tensor) -> Tensor:
    """Project with the layer's own matrix."""
    return layer.time_layer(time)  # type: ignore[no-any-return]


class TimeConditioned(nn.Module):
    """A layer that projects the time embedding and adds it, or scales with it.

    Its slot `time_projection` decides how the embedding is projected.
    """

    time_projection: TimeProjection

    def __init__(self) -> None:
        super().__init__()
        self.time_projection = project_time

    @property
    def time_layer(self) -> nn.Module:
        """The linear layer that projects the embedding."""
        raise NotImplementedError
