"""Embeddings of timesteps and of other numbers that condition a network."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.inplace import add, silu


def sinusoids(
    values: Tensor, dim: int, *, flip_sin_to_cos: bool = True, freq_shift: float = 0
) -> Tensor:
    """Sinusoidal features of `values` (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

    Args:
        values: `[batch]`.
        dim: number of features.
        flip_sin_to_cos: cosines come first.
        freq_shift: subtracted from the number of frequencies in the exponent's denominator.

    Returns:
        `[batch, dim]`, float32.
    """
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    frequencies = torch.exp(steps * (-math.log(10000) / (half - freq_shift)))
    angles = values.float().unsqueeze(-1) * frequencies
    waves = (angles.cos(), angles.sin()) if flip_sin_to_cos else (angles.sin(), angles.cos())
    features = torch.cat(waves, dim=-1)
    return nn.functional.pad(features, (0, dim % 2)) if dim % 2 else features


class FourierFeatures(nn.Module):
    """Waves of random frequencies, which belong to the weights.

    Args:
        dim: number of features.
        flip_sin_to_cos: cosines come first.
    """

    def __init__(self, dim: int, *, flip_sin_to_cos: bool) -> None:
        super().__init__()
        self.flip_sin_to_cos = flip_sin_to_cos
        self.weight = nn.Parameter(torch.randn(dim // 2), requires_grad=False)

    @override
    def forward(self, values: Tensor) -> Tensor:
        """Map `values` `[batch]` to `[batch, dim]`."""
        angles = values.unsqueeze(-1) * self.weight * 2 * math.pi
        waves = (
            (angles.cos(), angles.sin()) if self.flip_sin_to_cos else (angles.sin(), angles.cos())
        )
        return torch.cat(waves, dim=-1)


class TimestepEmbedding(nn.Module):
    """Two layers over features of a timestep; `condition_dim` adds a second input to the first.

    Args:
        in_dim: number of features.
        out_dim: channels of the embedding.
        condition_dim: channels of the second input; `None` for no such.
        activate: between the layers.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        condition_dim: int | None = None,
        activate: Callable[[Tensor], Tensor] = silu,
    ) -> None:
        super().__init__()
        self.activate = activate
        self.linear_1 = nn.Linear(in_dim, out_dim)
        if condition_dim is not None:
            self.cond_proj = nn.Linear(condition_dim, in_dim, bias=False)
        self.linear_2 = nn.Linear(out_dim, out_dim)

    @override
    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map `features` `[batch, in_dim]` to `[batch, out_dim]`."""
        if condition is not None:
            features = add(self.cond_proj(condition), features)
        return self.linear_2(self.activate(self.linear_1(features)))  # type: ignore[no-any-return]


def embed_guidance(guidance: Tensor, dim: int = 512) -> Tensor:
    """Features of guidance scales, for models distilled with guidance as an input.

    Args:
        guidance: `[batch]`, the guidance scales less one.
        dim: number of features.

    Returns:
        `[batch, dim]`, float32 (Luo et al. 2023, arXiv:2310.04378, section 4).
    """
    return sinusoids(guidance * 1000.0, dim, flip_sin_to_cos=False, freq_shift=1)
