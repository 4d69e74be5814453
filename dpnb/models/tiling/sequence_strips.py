"""Layers one after the other without norms, over strips of rows.

No layer needs the whole of a map, so that a strip goes through all of them, and memory does not
grow with the picture's height but for what goes in and comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from dpnb.models.tiling.geometry import Band, receptive_field
from dpnb.models.tiling.layers import convolve_strip
from dpnb.models.tiling.strips import Strips

NEIGHBOURS = {"nearest": 0, "bilinear": 1, "bicubic": 2}
"""Rows on either side that an interpolation reads, by its mode."""


def run_sequence(layers: Iterable[nn.Module], x: Strips) -> Strips:
    """Convolutions, upsampling, and layers that read a few rows around each.

    Args:
        layers: in order. How many rows a layer reads around each is its `reach`, 0 by default;
            those of convolutions and upsampling are known.
        x: what goes in.
    """
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            x = _run_convolution(layer, x)
        elif isinstance(layer, nn.Upsample):
            x = _run_upsample(layer, x)
        else:
            x = run_local(layer, x, getattr(layer, "reach", 0))
    return x


def run_local(compute: Callable[[Tensor], Tensor], x: Strips, reach: int = 0) -> Strips:
    """What keeps height and width, and reads `reach` rows on either side of each."""

    def strip(band: Band) -> Tensor:
        seen = Band(band.start - reach, band.stop + reach).clip(x.height)
        out = compute(x.rows(*seen))
        x.release(band.stop - reach)
        return _crop(out, band, seen.start)

    return x.derive(strip)


def _run_convolution(conv: nn.Conv2d, x: Strips) -> Strips:
    """Of any stride."""
    (kernel, _), (stride, _) = conv.kernel_size, conv.stride
    padding = int(conv.padding[0])

    def strip(band: Band) -> Tensor:
        field = receptive_field(band, kernel=kernel, stride=stride, padding=padding)
        out = convolve_strip(conv, x.rows(*field.clip(x.height)), *field.overhang(x.height))
        x.release(band.stop * stride - padding)
        return out

    return x.derive(strip, (x.height + 2 * padding - kernel) // stride + 1)


def _run_upsample(upsample: nn.Upsample, x: Strips) -> Strips:
    """By a whole factor, in any mode whose corners are not aligned."""
    scale: Any = upsample.scale_factor
    factor, around = int(scale), NEIGHBOURS[upsample.mode]

    def strip(band: Band) -> Tensor:
        first, last = band.start // factor - around, -(-band.stop // factor) + around
        seen = Band(first, last).clip(x.height)
        out = upsample(x.rows(*seen))
        x.release(band.stop // factor - around)
        return _crop(out, band, seen.start * factor)

    return x.derive(strip, factor * x.height)


def _crop(rows: Tensor, band: Band, first: int) -> Tensor:
    """The rows `band` of a map, of whose rows `rows` are those from `first` on."""
    return rows[:, :, band.start - first : band.stop - first]
