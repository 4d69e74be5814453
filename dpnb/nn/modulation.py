"""Adaptive layer normalisation: scale, shift and gate come from the time embedding.

Peebles and Xie (2022), Scalable Diffusion Models with Transformers, arXiv:2212.09748, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.nn.time_conditioning import TimeConditioned

EPS = 1e-6


class Modulation(TimeConditioned):
    """Projects the time embedding of a picture to `count` vectors: scales, shifts and gates."""

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = nn.Linear(dim, count * dim)

    @property
    @override
    def time_layer(self) -> nn.Module:
        return self.linear

    @override
    def forward(self, time: Tensor) -> tuple[Tensor, ...]:
        """The vectors, each `[batch, 1, dim]`.

        Args:
            time: the activated time embedding, `[batch, dim]`.
        """
        return self.time_projection(self, time).unsqueeze(1).chunk(self.count, dim=-1)


def modulate(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """A new tensor: `x` normalised over its channels, times `1 + scale`, plus `shift`.

    Args:
        x: `[batch, tokens, dim]`.
        scale: `[batch, 1, dim]`.
        shift: `[batch, 1, dim]`.
    """
    width, factor = x.shape[-1:], 1 + scale
    if len(x) == 1:
        return F.layer_norm(x, width, factor.flatten(), shift.flatten(), EPS)
    normed = F.layer_norm(x, width, eps=EPS)
    if torch.is_grad_enabled():
        return torch.addcmul(shift, normed, factor)
    return torch.addcmul(shift, normed, factor, out=normed)
