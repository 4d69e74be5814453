"""The encoder and the decoder of an autoencoder, run over strips of rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dpnb.models.tiling.stores import StripStore
from dpnb.models.tiling.strips import (
    Strips,
    run_attention,
    run_convolution,
    run_downsample,
    run_norm_and_convolution,
    run_resnet,
    run_upsample,
)


@torch.no_grad()
def encode_in_strips(encoder: Any, pictures: Tensor, rows: int, store: StripStore) -> Tensor:
    """What `encoder` gives, `[batch, channels, H / f, W / f]`.

    Args:
        encoder: an `Encoder`.
        pictures: `[batch, in_channels, H, W]`.
        rows: of a strip.
        store: keeps feature maps between layers.
    """
    x = run_convolution(encoder.conv_in, Strips.of(pictures, rows, store))
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            x = run_resnet(resnet, x)
        if block.downsamples:
            x = run_downsample(block.downsamplers[0], x)
    x = _run_middle_block(encoder.mid_block, x)
    return run_norm_and_convolution(encoder.conv_norm_out, encoder.conv_out, x).to_tensor()


@torch.no_grad()
def decode_in_strips(decoder: Any, latents: Tensor, rows: int, store: StripStore) -> Tensor:
    """What `decoder` gives, `[batch, out_channels, f * h, f * w]`.

    Args:
        decoder: a `Decoder`.
        latents: `[batch, latent_channels, h, w]`.
        rows: of a strip.
        store: keeps feature maps between layers.
    """
    x = run_convolution(decoder.conv_in, Strips.of(latents, rows, store))
    x = _run_middle_block(decoder.mid_block, x)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            x = run_resnet(resnet, x)
        if block.upsamples:
            x = run_upsample(block.upsamplers[0], x)
    return run_norm_and_convolution(decoder.conv_norm_out, decoder.conv_out, x).to_tensor()


def _run_middle_block(block: Any, x: Strips) -> Strips:
    first, second = block.resnets
    x = run_resnet(first, x)
    for attention in block.attentions:
        x = run_attention(attention, x)
    return run_resnet(second, x)
