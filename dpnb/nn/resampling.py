"""Downsampling and upsampling of feature maps, by a factor of two."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override


class Downsample(nn.Module):
    """A convolution of stride two.

    With `padding=0` the map is padded at the bottom and right only, as autoencoders do.
    """

    def __init__(self, channels: int, *, padding: int = 1) -> None:
        super().__init__()
        self.pads_after = padding == 0
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, height, width]` at half the height and width."""
        return self.conv(F.pad(x, (0, 1, 0, 1)) if self.pads_after else x)  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Nearest-neighbour interpolation, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    @override
    def forward(self, x: Tensor, size: Sequence[int] | None = None) -> Tensor:
        """`[batch, channels, height, width]` at twice the height and width, or at `size`."""
        if size is None:
            size = (2 * x.shape[-2], 2 * x.shape[-1])
        return self.conv(F.interpolate(x, size=list(size), mode="nearest"))  # type: ignore[no-any-return]
