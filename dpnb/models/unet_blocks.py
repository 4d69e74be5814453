"""The three kinds of block in a UNet: down, middle and up.

Down and up blocks work on one stack of feature maps. Nothing else refers to these, so that each is
freed as soon as it has been used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor, nn
from typing_extensions import override

from dpnb.models.unet_config import Level, UNetConfig, broadcast
from dpnb.nn.activations import Activation
from dpnb.nn.alternation import make_in_turn
from dpnb.nn.resampling import Downsample, Upsample
from dpnb.nn.resnet import ResnetBlock
from dpnb.nn.skip_connections import MergeSkip, concatenate
from dpnb.nn.transformer import SpatialTransformer


class BlockSettings(Protocol):
    """What blocks read of the settings of their UNet."""

    @property
    def groups(self) -> int:
        """Groups of channels that are normalised together."""
        ...

    @property
    def norm_eps(self) -> float:
        """What is added to variances."""
        ...

    @property
    def time_dim(self) -> int:
        """Channels of the time embedding."""
        ...

    @property
    def activation(self) -> Activation:
        """Before convolutions, and of the time embedding."""
        ...

    @property
    def scales_by_time(self) -> bool:
        """Whether the time embedding scales and shifts feature maps."""
        ...

    @property
    def mid_block_scale_factor(self) -> float:
        """What divides the output of each layer of the middle block."""
        ...

    @property
    def downsample_padding(self) -> int:
        """Rows and columns of zeros around what is made smaller."""
        ...


class AttendingBlock(nn.Module):
    """A block with attention after each of its residual blocks, or with none."""

    def _attentions(self, depths: Iterable[int], level: Level, config: Any) -> Iterator[nn.Module]:
        """The layers of attention, as many as there are `depths`."""
        return _transformers(depths, level, config)


class DownBlock(AttendingBlock):
    """Residual blocks, each followed by a transformer, then downsampling."""

    def __init__(
        self,
        in_channels: int,
        level: Level,
        config: BlockSettings,
        *,
        attends: bool,
        downsamples: bool,
    ) -> None:
        super().__init__()
        self.attends, self.downsamples = attends, downsamples
        widths = (in_channels, *[level.channels] * (level.layers - 1))
        depths = level.depths(level.layers) if attends else iter(())
        self.resnets, attentions = make_in_turn(
            (_resnet(width, level, config) for width in widths),
            self._attentions(depths, level, config),
        )
        if attends:
            self.attentions = attentions
        if downsamples:
            self.downsamplers = nn.ModuleList(
                [Downsample(level.channels, padding=config.downsample_padding)]
            )

    @override
    def forward(
        self, maps: list[Tensor], time: Tensor, context: Tensor, *, stays: bool = False
    ) -> None:
        """Take the last of `maps`, and append the output of each layer.

        Where it `stays`, nothing is made smaller.
        """
        for i, resnet in enumerate(self.resnets):
            x = resnet(maps[-1], time)
            maps.append(self.attentions[i](x, context) if self.attends else x)
        if self.downsamples and not stays:
            maps.append(self.downsamplers[0](maps[-1]))


class MiddleBlock(nn.Module):
    """A residual block, a transformer, a residual block.

    Its positions always attend to each other, as they do in other packages whatever is set.
    """

    def __init__(self, level: Level, config: UNetConfig) -> None:
        super().__init__()
        depth = level.depth if isinstance(level.depth, int) else level.depth[0]
        self.resnets, self.attentions = make_in_turn(
            make_middle_resnets(level, config),
            _transformers((depth,), replace(level, sees_context_alone=False), config),
        )

    @override
    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """Transform `x` `[batch, channels, h, w]`."""
        first, second = self.resnets
        x = first(x, time)
        return second(self.attentions[0](x, context), time)  # type: ignore[no-any-return]


class UpBlock(AttendingBlock):
    """Residual blocks, each after joining a skip connection, then upsampling.

    Its slot `merge_skip` decides how input and skip connection are joined.

    Args:
        in_channels: channels of the output of the block before.
        last_skip: channels of its last skip connection, which belongs to the next finer level.

    Attributes:
        merge_skip: joins the two.
        s1: of FreeU, as `dpnb.FreeU` has it, and like the next three `None` while it is off.
        s2: likewise.
        b1: likewise.
        b2: likewise.
    """

    merge_skip: MergeSkip
    s1: float | None = None
    s2: float | None = None
    b1: float | None = None
    b2: float | None = None

    def __init__(
        self,
        in_channels: int,
        last_skip: int,
        level: Level,
        config: BlockSettings,
        *,
        depth: int | Sequence[int],
        attends: bool,
        upsamples: bool,
    ) -> None:
        super().__init__()
        self.attends, self.upsamples = attends, upsamples
        count = level.layers + 1
        widths = (in_channels, *[level.channels] * level.layers)
        skips = (*[level.channels] * level.layers, last_skip)
        depths = broadcast(depth if isinstance(depth, int) else tuple(depth), count)
        self.resnets, attentions = make_in_turn(
            (_resnet(w + skip, level, config) for w, skip in zip(widths, skips, strict=True)),
            self._attentions(depths if attends else (), level, config),
        )
        if attends:
            self.attentions = attentions
        if upsamples:
            self.upsamplers = nn.ModuleList([Upsample(level.channels)])
        self.merge_skip = concatenate

    @override
    def forward(self, maps: list[Tensor], time: Tensor, context: Tensor) -> None:
        """Replace the last of `maps`, and one skip connection for each layer, by the output."""
        x = maps.pop()
        for i, resnet in enumerate(self.resnets):
            x = self.merge_skip(x, maps.pop())
            x = resnet(x, time)
            if self.attends:
                x = self.attentions[i](x, context)
        maps.append(self.upsamplers[0](x, maps[-1].shape[-2:]) if self.upsamples else x)


def make_middle_resnets(level: Level, config: BlockSettings) -> Iterator[ResnetBlock]:
    """The two residual blocks of a middle block."""
    divisor = config.mid_block_scale_factor
    return (_resnet(level.channels, level, config, divisor) for _ in range(2))


def _resnet(
    in_channels: int, level: Level, config: BlockSettings, divisor: float = 1
) -> ResnetBlock:
    return ResnetBlock(
        in_channels,
        level.channels,
        groups=config.groups,
        eps=config.norm_eps,
        time_dim=config.time_dim,
        activate=config.activation,
        scales_by_time=config.scales_by_time,
        divisor=divisor,
    )


def _transformers(
    depths: Iterable[int], level: Level, config: UNetConfig
) -> Iterator[SpatialTransformer]:
    return (
        SpatialTransformer(
            level.channels,
            level.heads,
            depth,
            level.context_dim,
            groups=config.groups,
            linear=config.use_linear_projection,
            sees_context_alone=level.sees_context_alone,
        )
        for depth in depths
    )
