"""Overlapping tiles, each coded by itself, their edges blended: cheap in memory, not exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dpnb.models.tiling.geometry import TileSpan, divide_into_tiles

OVERLAP = 4
"""Neighbouring tiles share this fraction, one part in 4, of their side; at least one latent."""


def encode_in_blended_tiles(
    encode: Callable[[Tensor], Tensor], pictures: Tensor, side: int, scale: int
) -> Tensor:
    """What `encode` gives for each tile, put together: `[batch, channels, H / f, W / f]`.

    Args:
        encode: encodes the pixels of one tile, `[batch, in_channels, height, width]`.
        pictures: `[batch, in_channels, H, W]`.
        side: latents along a tile's side.
        scale: pixels per latent along one side, f.
    """
    height, width = pictures.shape[2] // scale, pictures.shape[3] // scale

    def code(rows: TileSpan, columns: TileSpan) -> Tensor:
        return encode(pictures[:, :, _pixels(rows, height, scale), _pixels(columns, width, scale)])

    return _blend(code, _divide(height, side), _divide(width, side), 1)


def decode_in_blended_tiles(
    decode: Callable[[Tensor], Tensor], latents: Tensor, side: int, scale: int
) -> Tensor:
    """What `decode` gives for each tile, put together: `[batch, out_channels, f * h, f * w]`.

    Args:
        decode: decodes the latents of one tile, `[batch, latent_channels, height, width]`.
        latents: `[batch, latent_channels, h, w]`.
        side: latents along a tile's side.
        scale: pixels per latent along one side, f.
    """
    height, width = latents.shape[2:]

    def code(rows: TileSpan, columns: TileSpan) -> Tensor:
        return decode(latents[:, :, rows.start : rows.stop, columns.start : columns.stop])

    return _blend(code, _divide(height, side), _divide(width, side), scale)


def latents_per_side(
    tile: int | None, longest: int, *, scale: int, trained: int | Sequence[int]
) -> int:
    """Latents along a tile's side.

    Args:
        tile: the side in pixels; by default that of the pictures that the autoencoder was trained
            with, or half of the picture where that is less.
        longest: latents along the picture's longer side.
        scale: pixels per latent along one side.
        trained: sides in pixels of the pictures that the autoencoder was trained with.

    Raises:
        ValueError: it is no multiple of the pixels per latent, or too small to overlap.
    """
    least = OVERLAP * scale
    if tile is None:
        shortest = trained if isinstance(trained, int) else min(trained)
        half = -(-longest // (2 * OVERLAP)) * OVERLAP
        return max(min(shortest // scale, half), OVERLAP)
    if tile < least or tile % scale:
        raise ValueError(
            f"tile is {tile}; blended tiles of this autoencoder are a multiple of {scale} "
            f"pixels, and at least {least}."
        )
    return tile // scale


def _divide(length: int, side: int) -> list[TileSpan]:
    return divide_into_tiles(length, side, side // OVERLAP)


def _pixels(span: TileSpan, length: int, scale: int) -> slice:
    """The pixels of a tile; the last one has those that no latent stands for, too."""
    return slice(span.start * scale, span.stop * scale if span.stop < length else None)


def _blend(
    code: Callable[[TileSpan, TileSpan], Tensor],
    rows: list[TileSpan],
    columns: list[TileSpan],
    scale: int,
) -> Tensor:
    """Code all tiles and put them together; only the edges of one row of tiles are kept."""
    out: Tensor | None = None
    above: dict[TileSpan, Tensor] = {}
    for row in rows:
        left = None
        for column in columns:
            tile = code(row, column)
            if row.blend:
                _blend_edge(above[column], tile, row.blend * scale, dim=2)
            if left is not None:
                _blend_edge(left, tile, column.blend * scale, dim=3)
            above[column], left = _copy_end(tile, row, scale, 2), _copy_end(tile, column, scale, 3)
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


def _blend_edge(before: Tensor, tile: Tensor, extent: int, dim: int) -> None:
    """Blend the beginning of `tile` with the end of `before`, over `extent` rows or columns."""
    ramp = torch.arange(extent, device=tile.device, dtype=torch.float32) / extent
    ramp = ramp.to(tile.dtype).view(-1, *[1] * (3 - dim))
    start = tile.narrow(dim, 0, extent)
    start.copy_(before.narrow(dim, before.shape[dim] - extent, extent).lerp(start, ramp))


def _copy_end(tile: Tensor, span: TileSpan, scale: int, dim: int) -> Tensor:
    """A copy of the part of `tile` that the next one overlaps."""
    extent = min(tile.shape[dim], (span.stop - span.start - span.keep) * scale)
    return tile.narrow(dim, tile.shape[dim] - extent, extent).clone()
