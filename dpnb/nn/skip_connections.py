"""How an up-block of a UNet joins its input with a skip connection."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from dpnb.nn.inplace import multiply

MergeSkip: TypeAlias = Callable[[Tensor, Tensor], Tensor]


def concatenate(x: Tensor, skip: Tensor) -> Tensor:
    """Both along the channels: `[batch, channels of x + channels of skip, height, width]`."""
    return torch.cat((x, skip), dim=1)


@dataclass(frozen=True)
class FreeUMerge:
    """Scales the backbone up and the skip's low frequencies down, before `inner` joins them.

    Si et al. (2023), FreeU, arXiv:2309.11497, eq. 4 to 6, as published with its code: half of the
    backbone's channels are scaled.

    Args:
        skip_scale: s, the factor of the skip's lowest frequencies.
        backbone_scale: b, the factor of the backbone's first half of channels.
        inner: joins the two.
    """

    skip_scale: float
    backbone_scale: float
    inner: MergeSkip = concatenate

    def __call__(self, x: Tensor, skip: Tensor) -> Tensor:
        """Join `x` and `skip`, `[batch, channels, height, width]`, which may be overwritten."""
        half = x.shape[1] // 2
        strong = multiply(x[:, :half], self.backbone_scale)
        if torch.is_grad_enabled():
            x = torch.cat((strong, x[:, half:]), dim=1)
        return self.inner(x, scale_low_frequencies(skip, self.skip_scale))


def scale_low_frequencies(x: Tensor, scale: float) -> Tensor:
    """`x` with its lowest frequencies scaled.

    The filter of the published code multiplies the Fourier modes -1 and 0 along either axis and
    keeps the real part. That is a projection onto at most seven waves, which needs no transform.

    Args:
        x: `[batch, channels, height, width]`.
        scale: factor of these modes.
    """
    waves = lowest_waves(x.shape[-2], x.shape[-1], x.device).to(x.dtype)
    flat = x.flatten(0, 1).flatten(1)
    strength = (scale - 1) / waves.shape[0]
    return torch.addmm(flat, flat @ waves, waves.T, alpha=strength).view_as(x)


def lowest_waves(height: int, width: int, device: torch.device) -> Tensor:
    """The waves of modes -1 and 0 along both axes, `[height * width, waves]`, float32."""
    down = torch.arange(height, dtype=torch.float32, device=device).unsqueeze(1) / height
    right = torch.arange(width, dtype=torch.float32, device=device).unsqueeze(0) / width
    rows = (0, 1) if height > 1 else (0,)
    columns = (0, 1) if width > 1 else (0,)
    waves = []
    for row in rows:
        for column in columns:
            angles = (2 * math.pi * (row * down + column * right)).flatten()
            waves += [angles.cos(), angles.sin()] if row or column else [angles.cos()]
    return torch.stack(waves, dim=1)
