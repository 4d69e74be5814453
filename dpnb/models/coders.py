"""How an autoencoder's networks are run over a batch of pictures or latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from dpnb.models.blended import blend_decode, blend_encode
from dpnb.models.stores import DeviceStore, HostStore
from dpnb.models.stripwise import decode, encode
from dpnb.models.tiles import rows_for
from dpnb.numbers import coerce_numbers, parse_bool, to_builtin

if TYPE_CHECKING:
    from dpnb.models.autoencoder import Autoencoder


class Coder(Protocol):
    """Fills `Autoencoder.coder`."""

    def encode(self, vae: Autoencoder, pictures: Tensor) -> Tensor:
        """Means and log variances of the latents, one after the other in the channels."""

    def decode(self, vae: Autoencoder, latents: Tensor) -> Tensor:
        """Pictures of the latents."""


@dataclass(frozen=True)
class DirectCoder:
    """The whole batch at once."""

    def encode(self, vae: Autoencoder, pictures: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, 2 * latent_channels, H / f, W / f]`."""
        moments: Tensor = vae.encoder(pictures)
        return vae.quant_conv(moments) if vae.config.use_quant_conv else moments

    def decode(self, vae: Autoencoder, latents: Tensor) -> Tensor:
        """`[batch, latent_channels, h, w]` → `[batch, out_channels, f * h, f * w]`."""
        if vae.config.use_post_quant_conv:
            latents = vae.post_quant_conv(latents)
        return vae.decoder(latents)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class SlicedCoder:
    """One picture after the other, by another coder.

    Args:
        inner: codes one picture.
    """

    inner: Coder

    def encode(self, vae: Autoencoder, pictures: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, 2 * latent_channels, H / f, W / f]`."""
        return _one_by_one(lambda picture: self.inner.encode(vae, picture), pictures)

    def decode(self, vae: Autoencoder, latents: Tensor) -> Tensor:
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

    Where gradients are recorded, every feature map is kept for them; the networks then run whole.

    Args:
        tile: rows of a strip; a number that suits the picture by default. With `blended`, the side
            of a tile in pixels.
        spill: whether feature maps wait outside the device, so that its memory holds a few strips
            at any height.
        blended: code overlapping tiles by themselves and blend their edges. Tiles do not know of
            one another, which shifts their tone.

    Attributes:
        store: of what is spilled; it counts its bytes.
    """

    tile: int | None = None
    spill: bool = False
    blended: bool = False
    store: HostStore = field(default_factory=HostStore, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        spill, blended = parse_bool("spill", self.spill), parse_bool("blended", self.blended)
        check_tiling(to_builtin(self.tile), spill=spill, blended=blended)
        coerce_numbers(self)

    def encode(self, vae: Autoencoder, pictures: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, 2 * latent_channels, H / f, W / f]`."""
        if self.blended:
            return blend_encode(vae, pictures, self.tile, DirectCoder())
        if records(vae, pictures):
            return DirectCoder().encode(vae, pictures)
        return encode(vae, pictures, self.tile or rows_for(pictures.shape[2]), self._store)

    def decode(self, vae: Autoencoder, latents: Tensor) -> Tensor:
        """`[batch, latent_channels, h, w]` → `[batch, out_channels, f * h, f * w]`."""
        if self.blended:
            return blend_decode(vae, latents, self.tile, DirectCoder())
        if records(vae, latents):
            return DirectCoder().decode(vae, latents)
        rows = self.tile or rows_for(latents.shape[2] * vae.scale)
        return decode(vae, latents, rows, self._store)

    @property
    def _store(self) -> DeviceStore | HostStore:
        return self.store if self.spill else DeviceStore()


def check_tiling(tile: int | None, *, spill: bool, blended: bool) -> None:
    """Refuse settings of `TiledCoder` that mean nothing.

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


def records(vae: Autoencoder, given: Tensor) -> bool:
    """Whether the networks' work on `given` is recorded for gradients."""
    return torch.is_grad_enabled() and (
        given.requires_grad or any(p.requires_grad for p in vae.parameters())
    )
