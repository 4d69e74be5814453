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

LARGEST = 4
"""Up to so many times its own size a tile is tried, to find one that overlaps evenly."""


def find_tile_side(coder: nn.Module) -> int | None:
    """The side of a tile in pixels, where an autoencoder says so."""
    own = vars(coder)
    sides = (own.get(name) for name in TILE_SIDES)
    return next((side for side in sides if type(side) is int and side > 0), None)


def resize_tiles(coder: nn.Module, tile: int) -> None:
    """Let the side of a tile be `tile` pixels, and all else about tiles so much larger or less."""
    vars(coder).update(scale_lengths(coder, tile))


def scale_lengths(coder: nn.Module, tile: int) -> dict[str, int]:
    """What an autoencoder says about tiles, were their side `tile` pixels, by attribute."""
    factor = Fraction(tile, find_tile_side(coder) or tile)
    return {name: int(length * factor) for name, length in _lengths(coder)}


def _lengths(coder: nn.Module) -> Iterator[tuple[str, int]]:
    """What an autoencoder says about tiles, in pixels or latents, by the attribute's name."""
    for name, value in vars(coder).items():
        if type(value) is int and name.startswith("tile_") and name.endswith(LENGTHS):
            yield name, value


def find_even_unit(coder: nn.Module) -> int | None:
    """The least size in pixels at which tiles overlap evenly, as they do at multiples of it."""
    side = find_tile_side(coder) or 0
    pixels = pixels_per_latent(coder)
    sizes = range(pixels, LARGEST * side + 1, pixels)
    return next((size for size in sizes if is_even(coder, size)), None)


def is_even(coder: nn.Module, tile: int) -> bool:
    """Whether tiles of so many pixels, and their overlaps, are whole numbers of latents."""
    side = find_tile_side(coder)
    pixels, factor = pixels_per_latent(coder), Fraction(tile, side or tile)
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


def pixels_per_latent(coder: nn.Module) -> int:
    """Pixels along the side of a latent, as an autoencoder says."""
    own, side = vars(coder), find_tile_side(coder)
    ratio = own.get("spatial_compression_ratio")
    if type(ratio) is int:
        return ratio
    latents = own.get("tile_latent_min_size") or own.get("tile_latent_min_height")
    return side // latents if type(latents) is int and side else 1
