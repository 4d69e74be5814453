"""A small decoder for previews."""

from __future__ import annotations

from typing import Any

import torch

import dpnb

SETTINGS: dict[str, Any] = {
    "encoder_block_out_channels": (8, 8),
    "decoder_block_out_channels": (8, 8),
    "num_encoder_blocks": (1, 1),
    "num_decoder_blocks": (1, 1),
}


def tiny_decoder(library: Any = dpnb, **settings: Any) -> Any:
    """A random one, whose pictures have two pixels for each latent."""
    torch.manual_seed(0)
    return library.AutoencoderTiny(**{**SETTINGS, **settings}).eval()
