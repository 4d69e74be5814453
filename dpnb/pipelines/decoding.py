"""From latents to pictures, by the autoencoder and its scale."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from dpnb.models.autoencoder import AutoencoderKL
from dpnb.nn.widened import widened


def pictures_of(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Pictures `[batch, channels, height, width]` in [-1, 1].

    In float32 where the autoencoder overflows in float16.

    Args:
        vae: the autoencoder.
        latents: `[batch, channels, h, w]`, as they are in a run.
    """
    config, dtype = vae.config, vae.dtype
    widens = dtype == torch.float16 and config.force_upcast
    latents = latents.to(torch.float32 if widens else dtype) / config.scaling_factor
    if config.shift_factor is not None:
        latents = latents + config.shift_factor
    if config.latents_mean is not None and config.latents_std is not None:
        mean, std = (
            torch.tensor(values, device=latents.device, dtype=latents.dtype)[:, None, None]
            for values in (config.latents_mean, config.latents_std)
        )
        latents = latents * std + mean
    with widened(vae, torch.float32) if widens else nullcontext():
        pictures: Tensor = vae.decode(latents).sample
    return pictures
