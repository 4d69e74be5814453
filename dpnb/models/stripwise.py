"""The autoencoder's two networks, run over strips."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dpnb.models.stores import Store
from dpnb.models.strips import (
    Strips,
    activated,
    attended,
    convolved,
    downsampled,
    residual,
    upsampled,
)

if TYPE_CHECKING:
    from dpnb.models.autoencoder import Autoencoder


@torch.no_grad()
def encode(vae: Autoencoder, pictures: Tensor, rows: int, store: Store) -> Tensor:
    """Means and log variances, as `DirectCoder` gives them.

    Args:
        vae: the autoencoder.
        pictures: `[batch, in_channels, H, W]`.
        rows: of a strip.
        store: keeps what waits between layers.
    """
    encoder: Any = vae.encoder
    x = convolved(encoder.conv_in, Strips.of(pictures, rows, store))
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            x = residual(resnet, x)
        if block.halves:
            x = downsampled(block.downsamplers[0], x)
    x = _middle(encoder.mid_block, x)
    moments = activated(encoder.conv_norm_out, encoder.conv_out, x).whole()
    return vae.quant_conv(moments) if vae.config.use_quant_conv else moments


@torch.no_grad()
def decode(vae: Autoencoder, latents: Tensor, rows: int, store: Store) -> Tensor:
    """Pictures, as `DirectCoder` gives them.

    Args:
        vae: the autoencoder.
        latents: `[batch, latent_channels, h, w]`.
        rows: of a strip.
        store: keeps what waits between layers.
    """
    decoder: Any = vae.decoder
    if vae.config.use_post_quant_conv:
        latents = vae.post_quant_conv(latents)
    x = convolved(decoder.conv_in, Strips.of(latents, rows, store))
    x = _middle(decoder.mid_block, x)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            x = residual(resnet, x)
        if block.doubles:
            x = upsampled(block.upsamplers[0], x)
    return activated(decoder.conv_norm_out, decoder.conv_out, x).whole()


def _middle(block: Any, x: Strips) -> Strips:
    first, second = block.resnets
    x = residual(first, x)
    for attention in block.attentions:
        x = attended(attention, x)
    return residual(second, x)
