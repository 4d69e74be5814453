"""The tiles of autoencoders that dpnb did not write: how large they are, and may be."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from torch import nn

TILE_SIDES = ("tile_sample_min_height", "tile_sample_min_size")
"""Where autoencoders keep the side of a tile, in pixels."""

LENGTHS = ("_height", "_width", "_size")
"""How the names of attributes end that are lengths, in pixels or latents."""

LEAST = 4
"""Latents along the side of a tile; autoencoders pad fewer in ways that fail."""


def tile_obstacle(name: str, coder: nn.Module, tile: int) -> str | None:
    """Why the tiles of an autoencoder cannot be of this size, as a sentence.

    Args:
        name: of the component.
        coder: the autoencoder.
        tile: the side of a tile, in pixels.
    """
    side = find_tile_side(coder)
    if side is None:
        return f"The {name} has no tiles of a size that can be set; leave tile out."
    if _fits(coder, Fraction(tile, side)):
        return None
    pixels = _pixels_per_latent(coder)
    sizes = range(pixels, side, pixels)
    unit = next((size for size in sizes if _fits(coder, Fraction(size, side))), side)
    nearest = max(round(tile / unit), 1) * unit
    return (
        f"tile is {tile}, but tiles of the {name} overlap evenly only at multiples of {unit} "
        f"pixels; use {nearest}."
    )


def find_tile_side(coder: nn.Module) -> int | None:
    """The side of a tile in pixels, where an autoencoder says so."""
    own = vars(coder)
    sides = (own.get(name) for name in TILE_SIDES)
    return next((side for side in sides if type(side) is int and side > 0), None)


def resize_tiles(coder: nn.Module, tile: int) -> None:
    """Let the side of a tile be `tile` pixels, and all else about tiles so much larger or less."""
    side = find_tile_side(coder)
    if side is not None:
        for name, length in list(_lengths(coder)):
            vars(coder)[name] = int(length * Fraction(tile, side))


def _lengths(coder: nn.Module) -> Iterator[tuple[str, int]]:
    """What an autoencoder says about tiles, in pixels or latents, by the attribute's name."""
    for name, value in vars(coder).items():
        if type(value) is int and name.startswith("tile_") and name.endswith(LENGTHS):
            yield name, value


def _pixels_per_latent(coder: nn.Module) -> int:
    own = vars(coder)
    ratio, side = own.get("spatial_compression_ratio"), find_tile_side(coder)
    if type(ratio) is int:
        return ratio
    latents = own.get("tile_latent_min_size") or own.get("tile_latent_min_height")
    return side // latents if type(latents) is int and side else 1


def _fits(coder: nn.Module, factor: Fraction) -> bool:
    """Whether tiles so much larger, and their overlaps, are whole numbers of latents."""
    pixels = _pixels_per_latent(coder)
    shares = [share for name, share in vars(coder).items() if name.startswith("tile_overlap_fac")]
    for name, length in _lengths(coder):
        is_latent = name.startswith("tile_latent_")
        latents = length * factor / (1 if is_latent else pixels)
        overlaps = [latents * Fraction(share).limit_denominator(100) for share in shares]
        is_side = "_min_" in name and "overlap" not in name
        if latents.denominator > 1 or (is_side and latents < LEAST):
            return False
        if is_side and any(overlap.denominator > 1 for overlap in overlaps):
            return False
    return True
