"""Pictures to latents, as a denoising network is trained on them, and back."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dpnb.generators import Generators
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.latent_scales import denormalize_latents, normalize_latents
from dpnb.nn.upcast import upcast_layers
from dpnb.output import Output

if TYPE_CHECKING:
    from dpnb.models.model import Model
    from dpnb.models.vq import VQModel


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
