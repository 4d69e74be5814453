"""A number that scripts may treat as a tensor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class NoiseLevel(float):
    """A standard deviation, which no multiplication brings to a device.

    Scripts that take it for a tensor without dimensions call `item` and `to`.
    """

    def item(self) -> float:
        """The number."""
        return float(self)

    def to(self, *args: Any, **options: Any) -> Tensor:
        """A tensor without dimensions; the arguments are those of `Tensor.to`."""
        return torch.tensor(float(self)).to(*args, **options)
