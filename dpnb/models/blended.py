"""Overlapping tiles, each coded by itself, their edges blended: cheap in memory, not exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dpnb.models.tiles import Lap, laps

if TYPE_CHECKING:
    from dpnb.models.autoencoder import Autoencoder
    from dpnb.models.coders import Coder

OVERLAP = 4
"""One part in so many of a tile overlaps with the next, at least one latent."""


def blend_encode(vae: Autoencoder, pictures: Tensor, tile: int | None, inner: Coder) -> Tensor:
    """Means and log variances `[batch, 2 * latent_channels, H / f, W / f]`.

    Args:
        vae: the autoencoder.
        pictures: `[batch, in_channels, H, W]`.
        tile: side of a tile in pixels.
        inner: codes one tile.
    """
    height, width = pictures.shape[2] // vae.scale, pictures.shape[3] // vae.scale
    size = latents_of(vae, tile, max(height, width))

    def code(rows: Lap, columns: Lap) -> Tensor:
        part = pictures[:, :, _pixels(rows, height, vae.scale), _pixels(columns, width, vae.scale)]
        return inner.encode(vae, part)

    return _blend(code, _laps(height, size), _laps(width, size), 1)


def blend_decode(vae: Autoencoder, latents: Tensor, tile: int | None, inner: Coder) -> Tensor:
    """Pictures `[batch, out_channels, f * h, f * w]`.

    Args:
        vae: the autoencoder.
        latents: `[batch, latent_channels, h, w]`.
        tile: side of a tile in pixels.
        inner: codes one tile.
    """
    height, width = latents.shape[2:]
    size = latents_of(vae, tile, max(height, width))

    def code(rows: Lap, columns: Lap) -> Tensor:
        part = latents[:, :, rows.start : rows.stop, columns.start : columns.stop]
        return inner.decode(vae, part)

    return _blend(code, _laps(height, size), _laps(width, size), vae.scale)


def latents_of(vae: Autoencoder, tile: int | None, longest: int) -> int:
    """Latents along a tile's side.

    Args:
        vae: the autoencoder.
        tile: the side in pixels; by default that of the pictures that the autoencoder was trained
            with, or half of the picture where that is less.
        longest: latents along the picture's longer side.

    Raises:
        ValueError: it is no multiple of the pixels per latent, or too small to overlap.
    """
    least = OVERLAP * vae.scale
    if tile is None:
        trained = vae.config.sample_size
        side = trained if isinstance(trained, int) else min(trained)
        half = -(-longest // (2 * OVERLAP)) * OVERLAP
        return max(min(side // vae.scale, half), OVERLAP)
    if tile < least or tile % vae.scale:
        raise ValueError(
            f"tile is {tile}; blended tiles of this autoencoder are a multiple of {vae.scale} "
            f"pixels, and at least {least}."
        )
    return tile // vae.scale


def _laps(length: int, size: int) -> list[Lap]:
    return laps(length, size, size // OVERLAP)


def _pixels(lap: Lap, length: int, scale: int) -> slice:
    """The pixels of a tile; the last one has what the latents leave over."""
    return slice(lap.start * scale, lap.stop * scale if lap.stop < length else None)


def _blend(
    code: Callable[[Lap, Lap], Tensor], rows: list[Lap], columns: list[Lap], scale: int
) -> Tensor:
    """Code all tiles and put them together; only the edges of one row of them are kept."""
    out: Tensor | None = None
    above: dict[Lap, Tensor] = {}
    for row in rows:
        left = None
        for column in columns:
            tile = code(row, column)
            if row.blend:
                _join(above[column], tile, row.blend * scale, dim=2)
            if left is not None:
                _join(left, tile, column.blend * scale, dim=3)
            above[column], left = _end(tile, row, scale, 2), _end(tile, column, scale, 3)
            if out is None:
                size = (rows[-1].stop * scale, columns[-1].stop * scale)
                out = tile.new_empty(*tile.shape[:2], *size)
            top, side = row.start * scale, column.start * scale
            height, width = row.keep * scale, column.keep * scale
            out[:, :, top : top + height, side : side + width] = tile[:, :, :height, :width]
            del tile
    if out is None:
        raise ValueError("there is nothing to code: the picture has no rows or no columns.")
    return out


def _join(before: Tensor, tile: Tensor, extent: int, dim: int) -> None:
    """Let `tile` begin as `before` ends, over `extent` rows or columns."""
    ramp = torch.arange(extent, device=tile.device, dtype=torch.float32) / extent
    ramp = ramp.to(tile.dtype).view(-1, *[1] * (3 - dim))
    start = tile.narrow(dim, 0, extent)
    start.copy_(before.narrow(dim, before.shape[dim] - extent, extent).lerp(start, ramp))


def _end(tile: Tensor, lap: Lap, scale: int, dim: int) -> Tensor:
    """A copy of what of `tile` the next one overlaps with."""
    extent = min(tile.shape[dim], (lap.stop - lap.start - lap.keep) * scale)
    return tile.narrow(dim, tile.shape[dim] - extent, extent).clone()
