"""How latents are scaled: as an autoencoder codes them, and as denoising networks see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from dpnb.models.autoencoder import AutoencoderKLConfig
    from dpnb.models.vq import VQConfig

    LatentConfig: TypeAlias = AutoencoderKLConfig | VQConfig


def normalize_latents(config: LatentConfig, latents: Tensor) -> Tensor:
    """An autoencoder's latents, scaled as a denoising network is trained on them."""
    if (known := _statistics(config, latents)) is not None:
        mean, std = known
        latents = (latents - mean) / std
    if config.shift_factor is not None:
        latents = latents - config.shift_factor
    return latents * float(config.scaling_factor)


def denormalize_latents(config: LatentConfig, latents: Tensor) -> Tensor:
    """A denoising network's latents, scaled as the autoencoder decodes them."""
    latents = latents / config.scaling_factor
    if config.shift_factor is not None:
        latents = latents + config.shift_factor
    if (known := _statistics(config, latents)) is not None:
        mean, std = known
        return latents * std + mean
    return latents


def _statistics(config: LatentConfig, like: Tensor) -> list[Tensor] | None:
    """The mean and the standard deviation of each channel, `[channels, 1, 1]`, where known."""
    if config.latents_mean is None or config.latents_std is None:
        return None
    return [
        torch.tensor(values, device=like.device, dtype=like.dtype)[:, None, None]
        for values in (config.latents_mean, config.latents_std)
    ]
