"""The distribution of latents that an autoencoder encodes a picture to."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dpnb.generators import randn


class DiagonalGaussian:
    """Independent normal distributions, one per latent.

    Args:
        parameters: means and log variances, `[batch, 2 * channels, h, w]`.
        deterministic: whether latents are the means, without variance.
    """

    def __init__(self, parameters: Tensor, deterministic: bool = False) -> None:
        self.parameters, self.deterministic = parameters, deterministic
        self.mean, logvar = parameters.chunk(2, dim=1)
        self.logvar = logvar.clamp(-30.0, 20.0)

    @property
    def var(self) -> Tensor:
        """Variances, `[batch, channels, h, w]`."""
        return torch.zeros_like(self.mean) if self.deterministic else self.logvar.exp()

    @property
    def std(self) -> Tensor:
        """Standard deviations, `[batch, channels, h, w]`."""
        return self.var if self.deterministic else (0.5 * self.logvar).exp()

    def repeat(self, copies: int) -> DiagonalGaussian:
        """The batch of distributions `copies` times, one after the other."""
        if copies == 1:
            return self
        return DiagonalGaussian(self.parameters.repeat(copies, 1, 1, 1), self.deterministic)

    def sample(self, generator: torch.Generator | list[torch.Generator] | None = None) -> Tensor:
        """Latents drawn at random, `[batch, channels, h, w]`."""
        noise = randn(
            self.mean.shape,
            generator=generator,
            device=self.mean.device,
            dtype=self.mean.dtype,
        )
        return self.mean + self.std * noise

    def mode(self) -> Tensor:
        """The most likely latents, `[batch, channels, h, w]`."""
        return self.mean

    def kl(self, other: DiagonalGaussian | None = None) -> Tensor:
        """Kullback-Leibler divergence, summed per picture, `[batch]`; 0, `[1]`, without variance.

        Args:
            other: from this; from the standard normal by default.
        """
        if self.deterministic:
            return torch.zeros(1)
        mean, var, logvar = (
            (0.0, 1.0, 0.0) if other is None else (other.mean, other.var, other.logvar)
        )
        shares = (self.mean - mean).square() / var + self.var / var - 1.0 - self.logvar + logvar
        return 0.5 * shares.sum(dim=(1, 2, 3))

    def nll(self, sample: Tensor, dims: tuple[int, ...] = (1, 2, 3)) -> Tensor:
        """The negative log-likelihood of latents, summed over `dims`: `[batch]`; see `kl`."""
        if self.deterministic:
            return torch.zeros(1)
        deviations = (sample - self.mean).square() / self.var
        return 0.5 * (math.log(2.0 * math.pi) + self.logvar + deviations).sum(dim=dims)
