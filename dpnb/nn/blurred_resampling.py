"""Downsampling and upsampling by a fixed blur, by a factor of two."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override


class BlurredDownsample(nn.Module):
    """Each output is a weighted mean of four by four inputs; edges are mirrored."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, height, width]` at half the height and width."""
        padded = F.pad(x, (1,) * 4, "reflect")
        return F.conv2d(padded, _kernel(x, 1.0), stride=2, groups=x.shape[1])


class BlurredUpsample(nn.Module):
    """Each input is spread over four by four outputs; edges are mirrored."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        """`[batch, channels, height, width]` at twice the height and width."""
        padded = F.pad(x, (1,) * 4, "reflect")
        kernel = _kernel(x, 2.0)
        return F.conv_transpose2d(padded, kernel, stride=2, padding=3, groups=x.shape[1])


def _kernel(x: Tensor, gain: float) -> Tensor:
    """The blur for each channel of `x`, `[channels, 1, 4, 4]`: of 1, 3, 3 and 1 eighths."""
    places = torch.arange(4, device=x.device, dtype=torch.float32)
    weights = (2 - (places - 1.5).abs()) / 4 * gain  # numbers of the host would have to be awaited
    kernel = torch.outer(weights, weights).to(x.dtype)
    return kernel.expand(x.shape[1], 1, -1, -1)
