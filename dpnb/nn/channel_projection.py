"""Projections between feature maps and tokens: one matrix over the channels of every position.

Checkpoints store these matrices as linear layers or as 1×1 convolutions; both are the same
product, done here without copying the feature map into another order first. Of a map whose channels
are innermost in memory, the tokens are the map itself, seen another way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of a map `[batch, channels, height, width]` are innermost in memory."""
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def see_as_map(tokens: Tensor, size: Sequence[int]) -> Tensor:
    """Tokens `[batch, height * width, channels]` as a map with innermost channels, not copied."""
    return tokens.view(tokens.shape[0], *size, -1).permute(0, 3, 1, 2)


class ChannelProjection(nn.Module):
    """A weight `[out, in]` (`[out, in, 1, 1]` with `pointwise`) and a bias `[out]`."""

    def __init__(self, in_channels: int, out_channels: int, *, pointwise: bool) -> None:
        super().__init__()
        shape = (out_channels, in_channels, 1, 1) if pointwise else (out_channels, in_channels)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw random values, as `nn.Linear` does."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def matrix(self, batch: int) -> Tensor:
        """The weight for each entry of a batch, `[batch, out, in]`, without a copy."""
        return self.weight.flatten(1).expand(batch, -1, -1)


class ToTokens(ChannelProjection):
    """Projects a feature map to tokens."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in, height, width]` → `[batch, height * width, out]`."""
        positions = x.flatten(2).transpose(1, 2)
        return torch.baddbmm(self.bias, positions, self.matrix(x.shape[0]).transpose(1, 2))


class ToFeatureMap(ChannelProjection):
    """Projects tokens to a feature map."""

    @override
    def forward(self, tokens: Tensor, like: Tensor) -> Tensor:
        """Project.

        Args:
            tokens: `[batch, height * width, in]`.
            like: a feature map `[batch, any, height, width]`, of whose layout the new one is.

        Returns:
            `[batch, out, height, width]`.
        """
        size = like.shape[2:]
        if is_channels_last(like):
            return see_as_map(F.linear(tokens, self.weight.flatten(1), self.bias), size)
        x = torch.baddbmm(
            self.bias.unsqueeze(1), self.matrix(tokens.shape[0]), tokens.transpose(1, 2)
        )
        return x.view(*x.shape[:2], *size)
