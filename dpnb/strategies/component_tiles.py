"""Tiles of autoencoders that dpnb did not write: whether they can be, told beforehand, and how."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn

from dpnb.strategies.attachment import attachment_of
from dpnb.strategies.tile_sizes import (
    find_even_unit,
    find_tile_side,
    is_even,
    resize_tiles,
    scale_lengths,
)
from dpnb.strategies.tile_trial import TileTrial, try_tiles

LEAVE = "leave ComponentTiling out."

TRIED = 2
"""So many of the least tiles that overlap evenly are the side of the tiles that are tried."""


def tile_obstacle(name: str, coder: nn.Module, tile: int | None) -> str | None:
    """Why an autoencoder cannot decode in tiles of this size, as a sentence.

    Args:
        name: of the component.
        coder: the autoencoder.
        tile: the side of a tile, in pixels; its own by default.
    """
    side = find_tile_side(coder)
    if side is None:
        sized = f"The {name} has no tiles of a size that can be set; leave tile out."
        return None if tile is None else sized
    if not all(scale_lengths(coder, side).values()):
        return f"Tiles of the {name}, of {side} pixels, are less than a latent; {LEAVE}"
    unit = find_even_unit(coder)
    if tile is not None and unit is None:
        return f"No tiles of the {name} overlap evenly, of whatever size; {LEAVE}"
    if (fault := _try_once(coder, tile).decoding) is not None:
        return f"The tiles of the {name} do not fit together ({fault}); {LEAVE}"
    if tile is None or unit is None or is_even(coder, tile):
        return None
    nearest = max(round(tile / unit), 1) * unit
    return (
        f"tile is {tile}, but tiles of the {name} overlap evenly only at multiples of {unit} "
        f"pixels; use {nearest}."
    )


def use_tiles(coder: nn.Module, tile: int | None) -> None:
    """Let an autoencoder code in tiles; pictures that it cannot encode so, it encodes whole.

    Args:
        coder: has no `tile_obstacle`.
        tile: the side of a tile, in pixels; its own by default.
    """
    encodes_whole = _try_once(coder, tile).encoding is not None
    kind: Any = type(coder)
    kind.enable_tiling(coder)
    if tile is not None:
        resize_tiles(coder, tile)
    if encodes_whole:
        vars(coder)["encode"] = partial(_encode_whole, coder)


def _encode_whole(coder: nn.Module, *args: Any, **kwargs: Any) -> Any:
    kind: Any = type(coder)
    vars(coder)["use_tiling"] = False
    try:
        return kind.encode(coder, *args, **kwargs)
    finally:
        vars(coder)["use_tiling"] = True


def _try_once(coder: nn.Module, tile: int | None) -> TileTrial:
    """What a trial found; nothing where weights have no shape at present, as placements do it.

    Tiles that overlap evenly are alike at all sizes, of which the trial takes a small one.
    """
    side, unit = find_tile_side(coder), find_even_unit(coder)
    if side is None:
        return TileTrial()
    is_own = unit is None or (tile is None and not is_even(coder, side))
    tried = side if unit is None or is_own else TRIED * unit
    known, key = attachment_of(coder).tile_trials, tuple(scale_lengths(coder, tried).items())
    if key not in known:
        if any(parameter.numel() == 0 for parameter in coder.parameters()):
            return TileTrial()
        known[key] = try_tiles(coder, tried)
    return known[key]
