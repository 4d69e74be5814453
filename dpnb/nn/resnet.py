"""The residual block of UNets and autoencoders."""

from __future__ import annotations

from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.checkpointing import Checkpointed
from dpnb.nn.inplace import add, silu
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
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        groups: int,
        eps: float,
        time_dim: int | None = None,
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        if time_dim is not None:
            self.time_emb_proj = nn.Linear(time_dim, out_channels)
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
        h = self.conv1(silu(self.norm1(x)))
        if time is not None:
            h = add(h, self.time_projection(self, time)[:, :, None, None])
        h = self.norm2(h)
        h = self.conv2(silu(h))
        return add(h, self.conv_shortcut(x) if self.has_shortcut else x)
