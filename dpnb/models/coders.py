"""How an autoencoder's networks are run over a batch of pictures or latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from dpnb.models.autoencoder import AutoencoderKL


class Coder(Protocol):
    """Fills `AutoencoderKL.coder`."""

    def encode(self, vae: AutoencoderKL, pictures: Tensor) -> Tensor:
        """Means and log variances of the latents, one after the other in the channels."""

    def decode(self, vae: AutoencoderKL, latents: Tensor) -> Tensor:
        """Pictures of the latents."""


@dataclass(frozen=True)
class DirectCoder:
    """The whole batch at once."""

    def encode(self, vae: AutoencoderKL, pictures: Tensor) -> Tensor:
        """`[batch, in_channels, H, W]` → `[batch, 2 * latent_channels, H / f, W / f]`."""
        moments: Tensor = vae.encoder(pictures)
        return vae.quant_conv(moments) if vae.config.use_quant_conv else moments

    def decode(self, vae: AutoencoderKL, latents: Tensor) -> Tensor:
        """`[batch, latent_channels, h, w]` → `[batch, out_channels, f * h, f * w]`."""
        if vae.config.use_post_quant_conv:
            latents = vae.post_quant_conv(latents)
        return vae.decoder(latents)  # type: ignore[no-any-return]
