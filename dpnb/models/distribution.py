"""The distribution of latents that an autoencoder encodes a picture to."""

from __future__ import annotations

import torch
from torch import Tensor

from dpnb.generators import randn


class DiagonalGaussian:
    """Independent normal distributions, one per latent.

    Args:
        moments: means and log variances, `[batch, 2 * channels, h, w]`.
    """

    def __init__(self, moments: Tensor) -> None:
        self.mean, logvar = moments.chunk(2, dim=1)
        self.logvar = logvar.clamp(-30.0, 20.0)

    @property
    def var(self) -> Tensor:
        """Variances, `[batch, channels, h, w]`."""
        return self.logvar.exp()

    @property
    def std(self) -> Tensor:
        """Standard deviations, `[batch, channels, h, w]`."""
        return (0.5 * self.logvar).exp()

    def repeat(self, copies: int) -> DiagonalGaussian:
        """The batch of distributions `copies` times, one after the other."""
        if copies == 1:
            return self
        moments = torch.cat((self.mean, self.logvar), dim=1)
        return DiagonalGaussian(moments.repeat(copies, 1, 1, 1))

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

    def kl(self) -> Tensor:
        """Kullback-Leibler divergence from the standard normal, summed per picture, `[batch]`."""
        return 0.5 * (self.mean.square() + self.var - 1.0 - self.logvar).sum(dim=(1, 2, 3))
