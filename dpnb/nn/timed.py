"""Layers that a time embedding acts on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor, nn

TimeShift: TypeAlias = Callable[["Timed", Tensor], Tensor]
"""A layer and the activated time embedding `[batch, time_dim]` → what acts, `[batch, channels]`."""


def project_time(layer: Timed, time: Tensor) -> Tensor:
    """The layer's own matrix product."""
    return layer.time_layer(time)  # type: ignore[no-any-return]


class Timed(nn.Module):
    """A layer that a time embedding acts on.

    Its slot `time_shift` decides how what acts comes from the embedding.
    """

    time_shift: TimeShift

    def __init__(self) -> None:
        super().__init__()
        self.time_shift = project_time

    @property
    def time_layer(self) -> nn.Module:
        """Its matrix over the embedding."""
        raise NotImplementedError
