"""The residual block of UNets and autoencoders."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.activations import Activation
from dpnb.nn.checkpointing import Checkpointed
from dpnb.nn.inplace import add, multiply, silu
from dpnb.nn.time_conditioning import TimeConditioned


class ResnetBlock(Checkpointed, TimeConditioned):
    """Two normalised convolutions with a residual; the time embedding is added between them.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output; where they differ, the residual goes through a
            1×1 convolution.
        groups: groups of the norms.
        eps: added to the norms' variance.
        time_dim: channels of the time embedding; `None` for a block without one.
        activate: before each convolution.
        scales_by_time: the time embedding scales and shifts what is normalised in between.
        divisor: of the output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        eps: float,
        time_dim: int | None = None,
        activate: Activation = silu,
        scales_by_time: bool = False,
        divisor: float = 1,
    ) -> None:
        super().__init__()
        self.activate, self.scales_by_time, self.divisor = activate, scales_by_time, divisor
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        if time_dim is not None:
            width = 2 * out_channels if scales_by_time else out_channels
            self.time_emb_proj = nn.Linear(time_dim, width)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.has_shortcut = in_channels != out_channels
        if self.has_shortcut:
            self.conv_shortcut = nn.Conv2d(in_channels, out_channels, 1)

    @property
    @override
    def time_layer(self) -> nn.Module:
        return self.time_emb_proj

    @override
    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Transform `x`.

        Args:
            x: `[batch, in_channels, height, width]`.
            time: the activated time embedding, `[batch, time_dim]`.

        Returns:
            A new tensor, `[batch, out_channels, height, width]`.
        """
        h = self.conv1(self.activate(self.norm1(x)))
        if time is None:
            h = self.norm2(h)
        elif self.scales_by_time:
            scale, shift = self._project(time).chunk(2, dim=1)
            h = add(multiply(self.norm2(h), 1 + scale), shift)
        else:
            h = add(h, self._project(time))
            h = self.norm2(h)
        h = self.conv2(self.activate(h))
        h = add(h, self.conv_shortcut(x) if self.has_shortcut else x)
        return h if self.divisor == 1 else multiply(h, 1 / self.divisor)

    def _project(self, time: Tensor) -> Tensor:
        return self.time_projection(self, time)[:, :, None, None]
