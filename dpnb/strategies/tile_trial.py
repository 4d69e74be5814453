"""Whether the tiles of an autoencoder fit together: tried on a twin of it, which has no values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.strategies.network_twins import NetworkTwin, try_apart
from dpnb.strategies.tile_sizes import find_tile_side, pixels_per_latent, resize_tiles

HEIGHTS = (1.5, 2)
"""Of the picture of the trial, in tiles: two or three of them, where they overlap."""

CHANNELS = 3
"""Of a picture, where an autoencoder takes no other number."""


@dataclass(frozen=True)
class TileTrial:
    """What does not fit when an autoencoder codes in tiles, as part of a sentence.

    Attributes:
        encoding: `None` where the latents are of the size that they have without tiles; also where
            nothing can be told, as the network computes nothing without values.
        decoding: likewise for the picture.
    """

    encoding: str | None = None
    decoding: str | None = None


@dataclass(frozen=True)
class Whole:
    """What an autoencoder makes without tiles.

    Attributes:
        encoded: the latents of a picture.
        latents: what is decoded.
        decoded: the picture that comes of it.
    """

    encoded: Tensor
    latents: Tensor
    decoded: Tensor


def try_tiles(coder: nn.Module, tile: int) -> TileTrial:
    """Let a twin of an autoencoder encode and decode a picture of a column of tiles.

    Args:
        coder: says the side of its tiles; is left as it is, and no random numbers are drawn.
        tile: the side of a tile, in pixels.

    Raises:
        ValueError: a weight has no shape at present.
    """
    with try_apart(), torch.device("meta"):
        twin = NetworkTwin(coder, ()).network
        vars(twin)["use_tiling"] = False
        for picture in _list_pictures(twin, tile):
            if (whole := _code_whole(twin, picture)) is not None:
                return _code_in_tiles(twin, tile, picture, whole)
    return TileTrial()


def _code_in_tiles(coder: nn.Module, tile: int, picture: Tensor, whole: Whole) -> TileTrial:
    kind: Any = type(coder)
    try:
        kind.enable_tiling(coder)
    except Exception:  # which says itself, when it is switched on, why it cannot be
        return TileTrial()
    if tile != find_tile_side(coder):
        resize_tiles(coder, tile)
    return TileTrial(
        _find_fault(partial(_encode, coder, picture), whole.encoded, "latents"),
        _find_fault(partial(_decode, coder, whole.latents), whole.decoded, "pixels"),
    )


def _list_pictures(coder: Any, tile: int) -> Iterator[Tensor]:
    """Valueless pictures and films, of whatever numbers of channels the autoencoder may take."""
    is_film = any(isinstance(module, nn.Conv3d) for module in coder.modules())
    settings = dict(coder.config)
    channels, patch = settings.get("in_channels", CHANNELS), settings.get("patch_size")
    sizes = [channels // patch**2] if type(patch) is int else []
    for frames in ((1,), ()) if is_film else ((), (1,)):
        for size in dict.fromkeys([*sizes, channels, CHANNELS]):
            for height in HEIGHTS:
                yield torch.empty(1, size, *frames, int(height * tile), tile)


def _code_whole(coder: nn.Module, picture: Tensor) -> Whole | None:
    """What comes without tiles of a picture that is of whole latents; `None` where that fails.

    What is decoded has as many latents as the autoencoder says that the picture has.
    """
    try:
        encoded = latents = _encode(coder, picture)
        decoded = _decode(coder, latents)
        if decoded.shape[-2:] != picture.shape[-2:]:
            return None
        sides = [side // pixels_per_latent(coder) for side in picture.shape[-2:]]
        if sides != list(latents.shape[-2:]):
            latents = latents.new_empty(*latents.shape[:-2], *sides)
            decoded = _decode(coder, latents)
    except Exception:  # in whatever way code of others may fail
        return None
    return Whole(encoded, latents, decoded)


def _find_fault(code: Callable[[], Tensor], whole: Tensor, what: str) -> str | None:
    try:
        made = code()
    except NotImplementedError:
        return None
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0].rstrip(".") or type(error).__name__
        # What the coder itself keeps elsewhere says nothing of sizes.
        return None if "device meta" in reason else reason
    if made.shape == whole.shape:
        return None
    return f"{_describe(made)} {what} come of it, and not {_describe(whole)}"


def _encode(coder: nn.Module, picture: Tensor) -> Tensor:
    kind: Any = type(coder)
    made = kind.encode(coder, picture, return_dict=False)[0]
    latents: Tensor = made if isinstance(made, Tensor) else made.mode()
    return latents


def _decode(coder: nn.Module, latents: Tensor) -> Tensor:
    kind: Any = type(coder)
    decoded: Tensor = kind.decode(coder, latents, return_dict=False)[0]
    return decoded


def _describe(coded: Tensor) -> str:
    return " x ".join(map(str, coded.shape[-2:]))
