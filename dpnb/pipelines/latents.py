"""Pictures to latents, as a denoising network is trained on them, and back."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from dpnb.generators import Generators
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.latent_scales import denormalize_latents, normalize_latents
from dpnb.nn.upcast import upcast_layers
from dpnb.output import Output
from dpnb.pipelines.pictures.inputs import Pictures

if TYPE_CHECKING:
    from dpnb.models.model import Model
    from dpnb.models.vq import VQModel


class LatentCoding:
    """A pipeline's autoencoder, and how it codes pictures."""

    may_upcast_vae: ClassVar[bool] = False
    """Whether an autoencoder whose settings say `force_upcast` computes in float32."""

    vae: AutoencoderKL

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along one side; without an autoencoder, that of most."""
        return 8 if self._autoencoder is None else self._autoencoder.scale

    @property
    def is_vae_upcast(self) -> bool:
        """Whether the autoencoder computes in float32, whatever it is stored in."""
        vae = self._autoencoder
        return self.may_upcast_vae and vae is not None and vae.config.force_upcast

    @property
    def _autoencoder(self) -> AutoencoderKL | None:
        return self.vae

    @property
    def _latent_channels(self) -> int:
        return 4 if self._autoencoder is None else self._autoencoder.config.latent_channels

    def holds_latents(self, pictures: Pictures) -> bool:
        """Whether these are latents instead of pictures."""
        return pictures.may_be_latents and pictures.channels == self.vae.config.latent_channels

    def encode_pictures(self, pictures: Tensor, generator: Generators, copies: int = 1) -> Tensor:
        """Latents of pictures `[pictures, 3, H, W]` in [-1, 1]; see `encode_latents`."""
        own = first_generators(generator, copies * len(pictures))
        return encode_latents(self.vae, pictures, own, copies, upcast=self.is_vae_upcast)

    def encode_picture_means(self, pictures: Tensor) -> Tensor:
        """Means of the latents of pictures `[pictures, 3, H, W]`; see `encode_means`."""
        return encode_means(self.vae, pictures, upcast=self.is_vae_upcast)

    def decode_pictures(self, latents: Tensor) -> Tensor:
        """Pictures in [-1, 1] of latents `[batch, channels, h, w]`."""
        upcast = self.is_vae_upcast and self.vae.dtype == torch.float16
        return decode_latents(self.vae, latents, upcast=upcast)


def encode_latents(
    vae: AutoencoderKL, pictures: Tensor, generator: Generators, copies: int, *, upcast: bool
) -> Tensor:
    """Latents of pictures, sampled from the distribution that the autoencoder gives, if any.

    Args:
        vae: the autoencoder.
        pictures: `[pictures, 3, H, W]` in [-1, 1].
        generator: of the samples.
        copies: samples of each picture: one of all pictures, and another of all of them.
        upcast: compute in float32.

    Returns:
        `[copies * pictures, channels, h, w]`, in the dtype that was computed in.
    """
    dtype = torch.float32 if upcast else vae.dtype
    with compute_in(vae, dtype):
        encoded: Output = vae.encode(pictures.to(dtype))
        latents: Tensor = (
            encoded["latents"].repeat(copies, 1, 1, 1)
            if "latents" in encoded
            else encoded["latent_dist"].repeat(copies).sample(generator)
        )
    return normalize_latents(vae.config, latents)


def encode_means(vae: AutoencoderKL, pictures: Tensor, *, upcast: bool) -> Tensor:
    """The means of the latents of pictures, as the autoencoder gives them: not scaled yet.

    Args:
        vae: the autoencoder.
        pictures: `[pictures, 3, H, W]` in [-1, 1].
        upcast: compute in float32.

    Returns:
        `[pictures, channels, h, w]`, in the dtype that was computed in.
    """
    dtype = torch.float32 if upcast else vae.dtype
    with compute_in(vae, dtype):
        encoded: Output = vae.encode(pictures.to(dtype))
        means: Tensor = (
            encoded["latents"] if "latents" in encoded else encoded["latent_dist"].mode()
        )
    return means


def decode_latents(vae: AutoencoderKL | VQModel, latents: Tensor, *, upcast: bool) -> Tensor:
    """Pictures in [-1, 1] of latents `[batch, channels, h, w]`.

    Args:
        vae: the autoencoder.
        latents: as a network is trained on them.
        upcast: compute in float32.
    """
    dtype = torch.float32 if upcast else vae.dtype
    with compute_in(vae, dtype):
        pictures: Tensor = vae.decode(denormalize_latents(vae.config, latents.to(dtype))).sample
    return pictures


def compute_in(vae: Model, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Within it the autoencoder computes in `dtype`; its weights are stored as before."""
    return nullcontext() if vae.dtype == dtype else upcast_layers(vae, dtype)


def first_generators(generator: Generators, count: int) -> Generators:
    """The generators of the first `count` pictures."""
    return generator[:count] if isinstance(generator, list) else generator
