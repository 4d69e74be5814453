"""Coders: how an autoencoder runs its encoder and decoder over a batch of pictures or latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from dpnb.models.tiling.blended_tiles import (
    decode_in_blended_tiles,
    encode_in_blended_tiles,
    latents_per_side,
)
from dpnb.models.tiling.geometry import choose_strip_rows
from dpnb.models.tiling.stores import DeviceStore, HostStore, StripStore
from dpnb.numbers import coerce_numbers, parse_bool, to_builtin


class AutoencoderNetworks(Protocol):
    """What a coder needs of an autoencoder."""

    config: Any
    encoder: nn.Module
    decoder: nn.Module
    quant_conv: nn.Module
    post_quant_conv: nn.Module

    @property
    def scale(self) -> int:
        """Pixels per latent, along one side."""
        ...

    def encode_in_strips(self, pictures: Tensor, rows: int, store: StripStore) -> Tensor:
        """What the encoder gives, computed over strips of `rows`."""
        ...

    def decode_in_strips(self, latents: Tensor, rows: int, store: StripStore) -> Tensor:
        """What the decoder gives, computed over strips of `rows`."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """All its weights."""
        ...


class Coder(Protocol):
    """Fills `Autoencoder.coder`."""

    def encode(self, vae: AutoencoderNetworks, pictures: Tensor) -> Tensor:
        """Run the encoder; an `AutoencoderKL`'s gives means and log variances of latents."""

    def decode(self, vae: AutoencoderNetworks, latents: Tensor) -> Tensor:
        """Run the decoder, which gives pictures."""


@dataclass(frozen=True)
class DirectCoder:
    """The whole batch at once."""

    def encode(self, vae: AutoencoderNetworks, pictures: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, 2 * latent_channels, H / f, W / f]`."""
        return _apply_quant_conv(vae, vae.encoder(pictures))

    def decode(self, vae: AutoencoderNetworks, latents: Tensor) -> Tensor:
        """`[batch, latent_channels, h, w]` → `[batch, out_channels, f * h, f * w]`."""
        return vae.decoder(_apply_post_quant_conv(vae, latents))  # type: ignore[no-any-return]


def _apply_quant_conv(vae: AutoencoderNetworks, moments: Tensor) -> Tensor:
    return vae.quant_conv(moments) if vae.config.use_quant_conv else moments


def _apply_post_quant_conv(vae: AutoencoderNetworks, latents: Tensor) -> Tensor:
    return vae.post_quant_conv(latents) if vae.config.use_post_quant_conv else latents


@dataclass(frozen=True)
class SlicedCoder:
    """One picture after the other, by another coder.

    Args:
        inner: codes one picture.
    """

    inner: Coder

    def encode(self, vae: AutoencoderNetworks, pictures: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, 2 * latent_channels, H / f, W / f]`."""
        return _one_by_one(lambda picture: self.inner.encode(vae, picture), pictures)

    def decode(self, vae: AutoencoderNetworks, latents: Tensor) -> Tensor:
        """`[batch, latent_channels, h, w]` → `[batch, out_channels, f * h, f * w]`."""
        return _one_by_one(lambda one: self.inner.decode(vae, one), latents)


def _one_by_one(code: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    if len(batch) < 2:
        return code(batch)
    first = code(batch[:1])
    out = first.new_empty(len(batch), *first.shape[1:])
    out[:1] = first
    del first
    for index in range(1, len(batch)):
        out[index : index + 1] = code(batch[index : index + 1])
    return out


@dataclass(frozen=True)
class TiledCoder:
    """Strips of rows instead of the whole picture: the same result, up to rounding, in less memory.

    Where gradients are recorded, which keeps every feature map, the networks run undivided.

    Args:
        tile: rows of a strip; a number that suits the picture by default. With `blended`, the side
            of a tile in pixels.
        spill: whether feature maps are stored off the device, so that its memory holds a few strips
            at any height.
        blended: code overlapping tiles by themselves and blend their edges. Each tile has its own
            norm statistics, which shifts its tone.

    Attributes:
        store: of what is spilled; it counts the bytes.
    """

    tile: int | None = None
    spill: bool = False
    blended: bool = False
    store: HostStore = field(default_factory=HostStore, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        spill, blended = parse_bool("spill", self.spill), parse_bool("blended", self.blended)
        check_tiling(to_builtin(self.tile), spill=spill, blended=blended)
        coerce_numbers(self)

    def encode(self, vae: AutoencoderNetworks, pictures: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, 2 * latent_channels, H / f, W / f]`."""
        undivided = partial(DirectCoder().encode, vae)
        if self.blended:
            side = self._latents_per_side(vae, max(pictures.shape[2:]) // vae.scale)
            return encode_in_blended_tiles(undivided, pictures, side, vae.scale)
        if records_gradients(vae, pictures):
            return undivided(pictures)
        rows = self.tile or choose_strip_rows(pictures.shape[2])
        with torch.no_grad():
            moments = vae.encode_in_strips(pictures, rows, self._store)
            return _apply_quant_conv(vae, moments)

    def decode(self, vae: AutoencoderNetworks, latents: Tensor) -> Tensor:
        """`[batch, latent_channels, h, w]` → `[batch, out_channels, f * h, f * w]`."""
        undivided = partial(DirectCoder().decode, vae)
        if self.blended:
            side = self._latents_per_side(vae, max(latents.shape[2:]))
            return decode_in_blended_tiles(undivided, latents, side, vae.scale)
        if records_gradients(vae, latents):
            return undivided(latents)
        rows = self.tile or choose_strip_rows(latents.shape[2] * vae.scale)
        with torch.no_grad():
            latents = _apply_post_quant_conv(vae, latents)
            return vae.decode_in_strips(latents, rows, self._store)

    def _latents_per_side(self, vae: AutoencoderNetworks, longest: int) -> int:
        trained = vae.config.sample_size
        return latents_per_side(self.tile, longest, scale=vae.scale, trained=trained)

    @property
    def _store(self) -> DeviceStore | HostStore:
        return self.store if self.spill else DeviceStore()


def check_tiling(tile: int | None, *, spill: bool, blended: bool) -> None:
    """Refuse invalid settings of `TiledCoder`.

    Raises:
        TypeError: the tile is no whole number.
        ValueError: it is too small, or the settings contradict each other.
    """
    if tile is not None and (isinstance(tile, bool) or not isinstance(tile, int)):
        raise TypeError(f"tile is {tile!r}; use a number of pixels such as 64, or None.")
    if tile is not None and tile < 1:
        raise ValueError(f"tile is {tile}; use at least 1 pixel, or None to have it chosen.")
    if spill and blended:
        raise ValueError(
            "spill=True and blended=True contradict each other: between blended tiles nothing "
            "waits that could be spilled; choose one of them."
        )


def records_gradients(vae: AutoencoderNetworks, inputs: Tensor) -> bool:
    """Whether running the networks on `inputs` records gradients."""
    return torch.is_grad_enabled() and (
        inputs.requires_grad or any(p.requires_grad for p in vae.parameters())
    )
