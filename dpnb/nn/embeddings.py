"""Embeddings of timesteps and of other numbers that condition a network."""

import math

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.activations import Activation
from dpnb.nn.inplace import add, silu

PERIOD = 10000
"""Of the slowest of sinusoids, over 2π."""


def sinusoids(
    values: Tensor,
    dim: int,
    *,
    flip_sin_to_cos: bool = True,
    freq_shift: float = 0,
    scale: float = 1,
) -> Tensor:
    """Sinusoidal features of `values` (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

    Args:
        values: `[batch]`.
        dim: number of features.
        flip_sin_to_cos: cosines come first.
        freq_shift: subtracted from the number of frequencies in the exponent's denominator.
        scale: of the angles.

    Returns:
        `[batch, dim]`, float32.
    """
    half = dim // 2
    steps = torch.arange(half, dtype=torch.float32, device=values.device)
    frequencies = torch.exp(steps * (-math.log(PERIOD) / (half - freq_shift)))
    angles = scale * (values.float().unsqueeze(-1) * frequencies)
    waves = (angles.cos(), angles.sin()) if flip_sin_to_cos else (angles.sin(), angles.cos())
    features = torch.cat(waves, dim=-1)
    return nn.functional.pad(features, (0, dim % 2)) if dim % 2 else features


def get_timestep_embedding(
    timesteps: Tensor,
    embedding_dim: int,
    flip_sin_to_cos: bool = False,
    downscale_freq_shift: float = 1,
    scale: float = 1,
    max_period: int = 10000,
) -> Tensor:
    """See `sinusoids`, by the names that other packages have for its arguments.

    Args:
        timesteps: `[batch]`.
        embedding_dim: number of features.
        flip_sin_to_cos: cosines come first.
        downscale_freq_shift: subtracted from the number of frequencies.
        scale: of the angles.
        max_period: must be 10000.

    Returns:
        `[batch, embedding_dim]`, float32.

    Raises:
        ValueError: there is to be another period.
    """
    if max_period != PERIOD:
        raise ValueError(f"max_period is {max_period}; sinusoids have {PERIOD} here: leave it out.")
    return sinusoids(
        timesteps,
        embedding_dim,
        flip_sin_to_cos=flip_sin_to_cos,
        freq_shift=downscale_freq_shift,
        scale=scale,
    )


class Timesteps(nn.Module):
    """Sinusoidal features of timesteps, as a layer; see `sinusoids`.

    Args:
        num_channels: number of features.
        flip_sin_to_cos: cosines come first.
        downscale_freq_shift: subtracted from the number of frequencies.
        scale: of the angles.
    """

    def __init__(
        self,
        num_channels: int,
        flip_sin_to_cos: bool,
        downscale_freq_shift: float,
        scale: float = 1,
    ) -> None:
        super().__init__()
        self.num_channels, self.flip_sin_to_cos = num_channels, flip_sin_to_cos
        self.downscale_freq_shift, self.scale = downscale_freq_shift, scale

    @override
    def forward(self, timesteps: Tensor) -> Tensor:
        """Map `timesteps` `[batch]` to `[batch, num_channels]`, float32."""
        return get_timestep_embedding(
            timesteps,
            self.num_channels,
            self.flip_sin_to_cos,
            self.downscale_freq_shift,
            self.scale,
        )


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
        in_channels: number of features.
        time_embed_dim: channels of the embedding.
        condition_dim: channels of the second input; `None` for no such.
        activate: between the layers.
        finish: after them.
    """

    def __init__(
        self,
        in_channels: int,
        time_embed_dim: int,
        condition_dim: int | None = None,
        activate: Activation = silu,
        finish: Activation | None = None,
    ) -> None:
        super().__init__()
        self.activate, self.finish = activate, finish
        self.linear_1 = nn.Linear(in_channels, time_embed_dim)
        if condition_dim is not None:
            self.cond_proj = nn.Linear(condition_dim, in_channels, bias=False)
        self.linear_2 = nn.Linear(time_embed_dim, time_embed_dim)

    @override
    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map `features` `[batch, in_channels]` to `[batch, time_embed_dim]`."""
        if condition is not None:
            features = add(self.cond_proj(condition), features)
        embedding: Tensor = self.linear_2(self.activate(self.linear_1(features)))
        return embedding if self.finish is None else self.finish(embedding)


def embed_guidance(guidance: Tensor, dim: int = 512) -> Tensor:
    """Features of guidance scales, for models distilled with guidance as an input.

    Args:
        guidance: `[batch]`, the guidance scales less one.
        dim: number of features.

    Returns:
        `[batch, dim]`, float32 (Luo et al. 2023, arXiv:2310.04378, section 4).
    """
    return sinusoids(guidance * 1000.0, dim, flip_sin_to_cos=False, freq_shift=1)
