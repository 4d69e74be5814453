"""Between feature maps and tokens: one matrix over the channels of every position.

Checkpoints store these matrices as linear layers or as 1×1 convolutions; both are the same
product, done here without copying the feature map into another order first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override


class ChannelMatrix(nn.Module):
    """The weights `[out, in]` (or `[out, in, 1, 1]` with `pointwise`) and the bias `[out]`."""

    def __init__(self, in_channels: int, out_channels: int, *, pointwise: bool) -> None:
        super().__init__()
        shape = (out_channels, in_channels, 1, 1) if pointwise else (out_channels, in_channels)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fresh values, as `nn.Linear` has them."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def matrix(self, batch: int) -> Tensor:
        """The weights once for each entry of a batch, `[batch, out, in]`, without a copy."""
        return self.weight.flatten(1).expand(batch, -1, -1)


class ToTokens(ChannelMatrix):
    """A feature map becomes tokens."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in, height, width]` → `[batch, height * width, out]`."""
        positions = x.flatten(2).transpose(1, 2)
        return torch.baddbmm(self.bias, positions, self.matrix(x.shape[0]).transpose(1, 2))


class ToPicture(ChannelMatrix):
    """Tokens become a feature map."""

    @override
    def forward(self, tokens: Tensor, size: Sequence[int]) -> Tensor:
        """`[batch, height * width, in]` → `[batch, out, *size]`, `size` being height and width."""
        picture = torch.baddbmm(
            self.bias.unsqueeze(1), self.matrix(tokens.shape[0]), tokens.transpose(1, 2)
        )
        return picture.view(*picture.shape[:2], *size)
