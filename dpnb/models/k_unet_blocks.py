"""The blocks of UNets that are built as Karras et al. (2022, arXiv:2206.00364) train them.

They normalise by the time embedding, blur where they change resolution, and give one skip
connection for each level; there is no middle block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.nn.adaptive_norm import AdaptiveGroupNorm
from dpnb.nn.alternation import make_in_turn
from dpnb.nn.attention import Attention
from dpnb.nn.blurred_resampling import BlurredDownsample, BlurredUpsample
from dpnb.nn.checkpointing import Checkpointed

GROUP = 32
"""Channels that are normalised together."""


@dataclass(frozen=True)
class KLevel:
    """What all blocks of one level share.

    Args:
        channels: of its feature maps.
        layers: residual blocks.
        head_dim: channels of a head of attention.
        context_dim: channels of the context; `None` for levels that do not attend.
        time_dim: channels of the time embedding.
        eps: added to the norms' variance.
    """

    channels: int
    layers: int
    head_dim: int
    context_dim: int | None
    time_dim: int
    eps: float


class KResnetBlock(Checkpointed):
    """Two convolutions with a residual, each after a norm by the time embedding.

    Args:
        in_channels: of the input.
        inner_channels: between the convolutions.
        out_channels: of the output.
        level: that the block is in.
    """

    def __init__(
        self, in_channels: int, inner_channels: int, out_channels: int, level: KLevel
    ) -> None:
        super().__init__()
        time, eps = level.time_dim, level.eps
        self.norm1 = AdaptiveGroupNorm(time, in_channels, in_channels // GROUP, eps)
        self.conv1 = nn.Conv2d(in_channels, inner_channels, 3, padding=1)
        self.norm2 = AdaptiveGroupNorm(time, inner_channels, inner_channels // GROUP, eps)
        self.conv2 = nn.Conv2d(inner_channels, out_channels, 3, padding=1)
        self.has_shortcut = in_channels != out_channels
        if self.has_shortcut:
            self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    @override
    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Transform `x` `[batch, in_channels, h, w]`."""
        h = self.conv1(F.gelu(self.norm1(x, time)))
        h = self.conv2(F.gelu(self.norm2(h, time)))
        return (self.conv_shortcut(x) if self.has_shortcut else x) + h  # type: ignore[no-any-return]


class NormedContextAttention(Attention):
    """Attention to a context that is normalised first."""

    def __init__(self, dim: int, heads: int, head_dim: int, context_dim: int) -> None:
        super().__init__(dim, heads, head_dim, context_dim, bias=True)
        self.norm_cross = nn.LayerNorm(context_dim)

    @override
    def forward(self, tokens: Tensor, context: Tensor | None = None) -> Tensor:
        """Attend; see `Attention`."""
        return super().forward(tokens, None if context is None else self.norm_cross(context))


class KAttentionBlock(nn.Module):
    """Attention of a feature map to the context, and to itself before where it is asked for."""

    def __init__(self, channels: int, level: KLevel, *, attends_to_self: bool) -> None:
        super().__init__()
        heads, groups = channels // level.head_dim, max(1, channels // GROUP)
        self.attends_to_self = attends_to_self
        if attends_to_self:
            self.norm1 = AdaptiveGroupNorm(level.time_dim, channels, groups)
            self.attn1 = Attention(channels, heads, level.head_dim, bias=True)
        self.norm2 = AdaptiveGroupNorm(level.time_dim, channels, groups)
        assert level.context_dim is not None
        self.attn2 = NormedContextAttention(channels, heads, level.head_dim, level.context_dim)

    @override
    def forward(self, x: Tensor, context: Tensor, time: Tensor) -> Tensor:
        """Transform `x` `[batch, channels, h, w]`, with `context` `[batch, tokens, dim]`."""
        if self.attends_to_self:
            x = x + _as_map(self.attn1(_as_tokens(self.norm1(x, time))), x)
        return x + _as_map(self.attn2(_as_tokens(self.norm2(x, time)), context), x)


class KDownBlock(nn.Module):
    """Residual blocks, each followed by attention where the level has it, then downsampling."""

    def __init__(self, in_channels: int, level: KLevel, *, downsamples: bool) -> None:
        super().__init__()
        width = level.channels
        self.attends, self.downsamples = level.context_dim is not None, downsamples
        inputs = (in_channels, *[width] * (level.layers - 1))
        self.resnets, attentions = make_in_turn(
            (KResnetBlock(one, width, width, level) for one in inputs),
            (
                KAttentionBlock(width, level, attends_to_self=not downsamples)
                for _ in inputs
                if self.attends
            ),
        )
        if self.attends:
            self.attentions = attentions
        if downsamples:
            self.downsamplers = nn.ModuleList([BlurredDownsample()])

    @override
    def forward(
        self, maps: list[Tensor], time: Tensor, context: Tensor, *, stays: bool = False
    ) -> None:
        """Replace the last of `maps` by the output, after the skip connection of this level.

        Where it `stays`, that connection alone is there.
        """
        x = maps.pop()
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, time)
            if self.attends:
                x = self.attentions[i](x, context, time)
        if self.downsamples:
            maps.append(x)
            if stays:
                return
            x = self.downsamplers[0](x)
        maps.append(x)


class KUpBlock(nn.Module):
    """Residual blocks and attention after joining the skip connection, then upsampling.

    Args:
        out_channels: of the output, which the next finer level takes.
        level: of this one.
        takes_skip: whether there is a skip connection, as for all but the coarsest level.
        upsamples: whether the output is twice as high and wide.
    """

    def __init__(
        self, out_channels: int, level: KLevel, *, takes_skip: bool, upsamples: bool
    ) -> None:
        super().__init__()
        width = level.channels
        self.attends, self.takes_skip = level.context_dim is not None, takes_skip
        self.upsamples = upsamples
        first = 2 * width if takes_skip else width
        inputs = (first, *[width] * (level.layers - 1))
        outputs = (*[width] * (level.layers - 1), out_channels)
        self.resnets, attentions = make_in_turn(
            (
                KResnetBlock(one, width if self.attends else out, out, level)
                for one, out in zip(inputs, outputs, strict=True)
            ),
            (
                KAttentionBlock(out, level, attends_to_self=not takes_skip)
                for out in outputs
                if self.attends
            ),
        )
        if self.attends:
            self.attentions = attentions
        if upsamples:
            self.upsamplers = nn.ModuleList([BlurredUpsample()])

    @override
    def forward(self, maps: list[Tensor], time: Tensor, context: Tensor) -> None:
        """Replace the last of `maps`, and the skip connection of this level, by the output."""
        x = maps.pop()
        if self.takes_skip:
            x = torch.cat((x, maps.pop()), dim=1)
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, time)
            if self.attends:
                x = self.attentions[i](x, context, time)
        maps.append(self.upsamplers[0](x) if self.upsamples else x)


def make_down_blocks(levels: Sequence[KLevel], first: int) -> nn.ModuleList:
    """The blocks on the way down, from the finest level; `first` are the channels that come in."""
    widths = (first, *(level.channels for level in levels))
    last = len(levels) - 1
    return nn.ModuleList(
        KDownBlock(widths[i], level, downsamples=i < last) for i, level in enumerate(levels)
    )


def make_up_blocks(levels: Sequence[KLevel]) -> nn.ModuleList:
    """The blocks on the way up; `levels` come from the coarsest."""
    finer = (*levels[1:], levels[-1])
    return nn.ModuleList(
        KUpBlock(after.channels, level, takes_skip=i > 0, upsamples=i < len(levels) - 1)
        for i, (level, after) in enumerate(zip(levels, finer, strict=True))
    )


def _as_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2).contiguous()


def _as_map(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.transpose(1, 2).reshape(like.shape)
