"""Between pictures and the latents that a network is trained on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dpnb.generators import Generators
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.nn.upcast import upcast_layers

if TYPE_CHECKING:
    from dpnb.models.model import Model
    from dpnb.models.vq import VQModel


def encoded(
    vae: AutoencoderKL, pictures: Tensor, generator: Generators, copies: int, *, widens: bool
) -> Tensor:
    """Latents of pictures, drawn from what the autoencoder says of them.

    Args:
        vae: the autoencoder.
        pictures: `[pictures, 3, H, W]` in [-1, 1].
        generator: of what is drawn.
        copies: of each picture, drawn one by one: all pictures, and all of them again.
        widens: compute in float32.

    Returns:
        `[copies * pictures, channels, h, w]`, in the dtype that was computed in.
    """
    dtype = torch.float32 if widens else vae.dtype
    with computing_in(vae, dtype):
        latents = vae.encode(pictures.to(dtype)).latent_dist.repeat(copies).sample(generator)
    return normalised(vae.config, latents)


def decoded(vae: AutoencoderKL | VQModel, latents: Tensor, *, widens: bool) -> Tensor:
    """Pictures in [-1, 1] of latents `[batch, channels, h, w]`.

    Args:
        vae: the autoencoder.
        latents: as a network is trained on them.
        widens: compute in float32.
    """
    dtype = torch.float32 if widens else vae.dtype
    with computing_in(vae, dtype):
        pictures: Tensor = vae.decode(denormalised(vae.config, latents.to(dtype))).sample
    return pictures


def computing_in(vae: Model, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Within it the autoencoder computes in `dtype`, and stores what it does."""
    return nullcontext() if vae.dtype == dtype else upcast_layers(vae, dtype)


def normalised(config: Any, latents: Tensor) -> Tensor:
    """What an autoencoder says, as a network is trained on it."""
    if config.shift_factor is not None:
        latents = latents - config.shift_factor
    if (known := _statistics(config, latents)) is not None:
        mean, std = known
        latents = (latents - mean) / std
    return latents * float(config.scaling_factor)


def denormalised(config: Any, latents: Tensor) -> Tensor:
    """What a network makes, as an autoencoder decodes it."""
    latents = latents / config.scaling_factor
    if config.shift_factor is not None:
        latents = latents + config.shift_factor
    if (known := _statistics(config, latents)) is not None:
        mean, std = known
        return latents * std + mean
    return latents


def _statistics(config: Any, like: Tensor) -> list[Tensor] | None:
    """The mean and the standard deviation of each channel, `[channels, 1, 1]`, where known."""
    if config.latents_mean is None or config.latents_std is None:
        return None
    return [
        torch.tensor(values, device=like.device, dtype=like.dtype)[:, None, None]
        for values in (config.latents_mean, config.latents_std)
    ]
