"""What adapters change: products of two small matrices (LoRA), differences, new values.

E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, section 4.1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional
from typing_extensions import Self, override

NO_SCALE = (
    "low-rank weights are part of the network, and their scale is that of the strategy "
    "dpnb.LoRA; leave it out"
)
"""The message where a caller passes a scale to a network."""


class Change(ABC):
    """What an adapter adds to one parameter."""

    @abstractmethod
    def fits(self, shape: torch.Size) -> bool:
        """Whether it can change a parameter of this shape."""

    @abstractmethod
    def delta(self, plain: Tensor) -> Tensor:
        """What it adds to the values `plain`: float32, of their shape, on their device."""

    @abstractmethod
    def scale_by(self, factor: float) -> Self:
        """The change multiplied by `factor`."""

    @abstractmethod
    def split_rows(self, sizes: list[int]) -> list[Self]:
        """The change divided by rows: one for each of `sizes`, in order."""

    @abstractmethod
    def join_rows(self, others: Sequence[Self]) -> Self:
        """One change whose rows are its own and then those of `others`."""

    @property
    @abstractmethod
    def size(self) -> str:
        """Its shape, in words."""


@dataclass(frozen=True, eq=False)
class LowRank(Change):
    """`scale * up @ down`, for a matrix or, flattened, for the kernel of a convolution.

    Attributes:
        down: `[rank, in]`, or `[rank, in, height, width]`.
        up: `[out, rank]`, or `[out, rank, 1, 1]`.
        scale: of the product.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0

    @override
    def fits(self, shape: torch.Size) -> bool:
        """Whether the product has as many rows and columns as the parameter."""
        return len(shape) > 1 and self.shape == (shape[0], shape[1:].numel())

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the product."""
        return self.up.shape[0], self.down[0].numel()

    @override
    def delta(self, plain: Tensor) -> Tensor:
        down = self.down.to(plain.device, torch.float32).flatten(1)
        up = self.up.to(plain.device, torch.float32).flatten(1)
        return (up @ down).mul_(self.scale).view(plain.shape)

    @override
    def scale_by(self, factor: float) -> LowRank:
        return replace(self, scale=self.scale * factor)

    @override
    def split_rows(self, sizes: list[int]) -> list[LowRank]:
        return [replace(self, up=part) for part in self.up.split(sizes)]

    @override
    def join_rows(self, others: Sequence[LowRank]) -> LowRank:
        """As `Change` says; all must share `down` and the scale."""
        return replace(self, up=torch.cat([self.up, *(other.up for other in others)]))

    def widen(self, columns: int) -> LowRank:
        """The change of a matrix of this many columns, of which it changes the first ones."""
        missing = columns - self.shape[1]
        return self if missing <= 0 else replace(self, down=functional.pad(self.down, (0, missing)))

    @property
    @override
    def size(self) -> str:
        return f"{list(self.shape)} of rank {self.down.shape[0]}"


@dataclass(frozen=True, eq=False)
class FullChange(Change):
    """A change with a value for each of the parameter's.

    Attributes:
        values: in the parameter's shape.
        scale: of the values.
    """

    values: Tensor
    scale: float = 1.0

    @override
    def fits(self, shape: torch.Size) -> bool:
        return self.values.shape == shape

    @override
    def scale_by(self, factor: float) -> Self:
        return replace(self, scale=self.scale * factor)

    @override
    def split_rows(self, sizes: list[int]) -> list[Self]:
        return [replace(self, values=part) for part in self.values.split(sizes)]

    @override
    def join_rows(self, others: Sequence[Self]) -> Self:
        """As `Change` says; all must share the scale."""
        return replace(self, values=torch.cat([self.values, *(one.values for one in others)]))

    @property
    @override
    def size(self) -> str:
        return f"{list(self.values.shape)}"


class Difference(FullChange):
    """`scale * values`, added to the plain ones."""

    @override
    def delta(self, plain: Tensor) -> Tensor:
        return self.values.to(plain.device, torch.float32) * self.scale


class Replacement(FullChange):
    """`values` in place of the plain ones, or with a scale below 1 a mixture of both."""

    @override
    def delta(self, plain: Tensor) -> Tensor:
        values = self.values.to(plain.device, torch.float32)
        return (values - plain.to(torch.float32)) * self.scale


def columns_after(shape: torch.Size, changes: Sequence[Change]) -> int:
    """How many columns a matrix has once it is changed: a change may be for more than it has."""
    wanted = [change.shape[1] for change in changes if isinstance(change, LowRank)]
    return max([shape[1], *wanted]) if len(shape) == 2 else shape[-1]


def widen(plain: Tensor, changes: Sequence[Change]) -> tuple[Tensor, list[Change]]:
    """A parameter and its changes, all as wide as the widest of them; what is new is zero."""
    if plain.ndim != 2:
        return plain, list(changes)
    columns = columns_after(plain.shape, changes)
    wide = [c.widen(columns) if isinstance(c, LowRank) else c for c in changes]
    return functional.pad(plain, (0, columns - plain.shape[1])), wide
