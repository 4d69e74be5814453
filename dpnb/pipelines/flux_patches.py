"""Latents as tokens: one for each patch of two by two."""

from __future__ import annotations

import torch
from torch import Tensor


def pack(latents: Tensor) -> Tensor:
    """Feature maps as tokens, `[batch, channels, h, w]` → `[batch, h * w / 4, channels * 4]`."""
    batch, channels, height, width = latents.shape
    patches = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """Tokens as feature maps, `[batch, h * w / 4, channels * 4]` → `[batch, channels, h, w]`.

    Args:
        tokens: one for each patch.
        height: of the maps, in latents.
        width: likewise.
    """
    batch, _, channels = tokens.shape
    patches = tokens.reshape(batch, height // 2, width // 2, channels // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels // 4, height, width)


def positions(text_tokens: int, height: int, width: int, device: torch.device) -> Tensor:
    """Where every token is: the text at the origin, then the patches row by row.

    Args:
        text_tokens: how many come first.
        height: of the feature maps, in latents.
        width: likewise.
        device: where the positions are wanted.

    Returns:
        `[text_tokens + height * width / 4, 3]`, float32; the first axis is not used.
    """
    rows = torch.arange(height // 2, device=device, dtype=torch.float32)
    columns = torch.arange(width // 2, device=device, dtype=torch.float32)
    grid = torch.cartesian_prod(torch.zeros(1, device=device), rows, columns)
    return torch.cat((torch.zeros(text_tokens, 3, device=device), grid))
