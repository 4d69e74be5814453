"""How an up-block joins what comes from below with what was skipped."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

MergeSkip: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def concatenate(x: Tensor, skip: Tensor) -> Tensor:
    """Both, one after the other: `[batch, channels of x + channels of skip, height, width]`."""
    return torch.cat((x, skip), dim=1)
