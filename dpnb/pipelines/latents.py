"""Pictures to latents, as a denoising network is trained on them, and back."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from dpnb.generators import Generators
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.latent_scales import denormalize_latents, normalize_latents
from dpnb.nn.upcast import upcast_layers
from dpnb.pipelines.pictures.images import postprocess
from dpnb.pipelines.pictures.inputs import Pictures

if TYPE_CHECKING:
    import numpy as np

    from dpnb.models.model import Model
    from dpnb.models.vq import VQModel


class LatentCoding:
    """A pipeline's autoencoder, and how it codes pictures."""

    may_upcast_vae: ClassVar[bool] = False
    """Whether an autoencoder whose settings say `force_upcast` computes in float32."""

    scale_without_vae: ClassVar[int] = 8
    """Pixels per latent, along one side, where there is no autoencoder."""

    vae: AutoencoderKL

    _vae_scale_factor: int | None = None

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along one side: as set, or as of the autoencoder."""
        if self._vae_scale_factor is not None:
            return self._vae_scale_factor
        vae = self._autoencoder
        return self.scale_without_vae if vae is None else scale_of(vae)

    @vae_scale_factor.setter
    def vae_scale_factor(self, scale: int) -> None:
        self._vae_scale_factor = scale

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

    def decode_latents(self, latents: Tensor) -> np.ndarray[Any, Any]:
        """Pictures in [0, 1], `[batch, height, width, 3]`, of latents `[batch, channels, h, w]`."""
        with torch.no_grad():
            pictures: np.ndarray[Any, Any] = postprocess(self.decode_pictures(latents), "np")
        return pictures


def scale_of(vae: Any) -> int:
    """Pixels per latent of an autoencoder, along one side, also of one that is somebody else's."""
    if "scale" in dir(vae):
        return int(vae.scale)
    return int(2 ** (len(vae.config.block_out_channels) - 1))


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
        encoded = vae.encode(pictures.to(dtype))
        latents: Tensor = (
            encoded.latents.repeat(copies, 1, 1, 1)
            if "latents" in dir(encoded)
            else _repeat(encoded.latent_dist, copies).sample(generator)
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
        encoded = vae.encode(pictures.to(dtype))
        means: Tensor = encoded.latents if "latents" in dir(encoded) else encoded.latent_dist.mode()
    return means


def _repeat(distribution: Any, copies: int) -> Any:
    """A distribution of somebody else's need not know how it is repeated."""
    return distribution if copies == 1 else distribution.repeat(copies)


def decode_latents(vae: AutoencoderKL | VQModel, latents: Tensor, *, upcast: bool) -> Tensor:
    """Pictures in [-1, 1] of latents `[batch, channels, h, w]`.

    Args:
        vae: the autoencoder.
        latents: as a network is trained on them.
        upcast: compute in float32.
    """
    dtype = torch.float32 if upcast else vae.dtype
    with compute_in(vae, dtype):
        scaled = denormalize_latents(vae.config, latents.to(dtype))
        pictures: Tensor = vae.decode(scaled, return_dict=False)[0]
    return pictures


def compute_in(vae: Model, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Within it the autoencoder computes in `dtype`; its weights are stored as before."""
    return nullcontext() if vae.dtype == dtype else upcast_layers(vae, dtype)


def first_generators(generator: Generators, count: int) -> Generators:
    """The generators of the first `count` pictures."""
    return generator[:count] if isinstance(generator, list) else generator
