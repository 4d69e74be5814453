"""The way of feature maps through the blocks of a UNet, in one call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import Tensor, nn

Across: TypeAlias = Callable[[list[Tensor]], list[Tensor]]
"""Feature maps of the way down → the skip connections and, last, what the way up begins with."""

Follow: TypeAlias = Callable[["UNetPath", list[Tensor]], None]
"""Replaces the first feature map, alone in a list, by the last; what fills the slot `follow`."""


@dataclass(frozen=True, eq=False)
class UNetPath:
    """The blocks of a UNet, with what they are given in one call beside the feature maps.

    Attributes:
        down: blocks, from the finest level.
        across: what is between them.
        up: blocks, from the coarsest level.
        time: the activated time embedding, `[batch, time_dim]`.
        context: what the blocks attend to.
        residuals: added to the skip connections on the way across; `None` where nothing is.
    """

    down: nn.ModuleList
    across: Across
    up: nn.ModuleList
    time: Tensor
    context: Tensor
    residuals: Sequence[Tensor] | None = None

    @property
    def levels(self) -> int:
        """Between two of them the side of feature maps is halved."""
        return len(self.up)

    def go_down(self, maps: list[Tensor]) -> None:
        """Append a feature map for every skip connection, from all levels."""
        for block in self.down:
            block(maps, self.time, self.context)

    def go_down_partly(self, maps: list[Tensor], levels: int) -> None:
        """As `go_down`, from so many of the finest levels, less than all, and as if gone across.

        There are as many skip connections then as the blocks of these levels take on the way up.
        """
        for block in self.down[: levels - 1]:
            block(maps, self.time, self.context)
        self.down[levels - 1](maps, self.time, self.context, stays=True)
        if self.residuals is not None:
            maps[:] = [a + b for a, b in zip(maps, self.residuals, strict=False)]

    def go_up(self, maps: list[Tensor], levels: slice = slice(None)) -> None:
        """Replace the last feature map, and the skip connections of `levels`, by the output."""
        for block in self.up[levels]:
            block(maps, self.time, self.context)


def follow_path(path: UNetPath, maps: list[Tensor]) -> None:
    """Down, across and up again, through all blocks."""
    path.go_down(maps)
    maps[:] = path.across(maps)
    path.go_up(maps)
