"""Group normalisation whose scale and shift follow from the time embedding."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.nn.time_conditioning import TimeConditioned


class AdaptiveGroupNorm(TimeConditioned):
    """Normalises groups of channels, then scales and shifts each channel.

    Args:
        time_dim: channels of the time embedding.
        channels: of the feature map.
        groups: of channels.
        eps: added to the variance.
    """

    def __init__(self, time_dim: int, channels: int, groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.groups, self.eps = groups, eps
        self.linear = nn.Linear(time_dim, 2 * channels)

    @property
    @override
    def time_layer(self) -> nn.Module:
        return self.linear

    @override
    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Normalise `x` `[batch, channels, h, w]`; `time` is `[batch, time_dim]`."""
        scale, shift = self.time_projection(self, time)[:, :, None, None].chunk(2, dim=1)
        return F.group_norm(x, self.groups, eps=self.eps) * (1 + scale) + shift
