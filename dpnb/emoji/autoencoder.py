"""Stage one: the autoencoder between 64 x 64 pictures and 16 x 16 x 4 latents."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log10

import torch
import torch.nn.functional as F
from torch import Tensor

from dpnb.emoji.precision import autocast
from dpnb.models.autoencoder import AutoencoderKL

SCALING_FACTOR = 0.18215
KL_WEIGHT = 3e-4
EDGE_WEIGHT = 0.5


def build_autoencoder() -> AutoencoderKL:
    """The network: 0.65 M parameters, three levels, latents an eighth of the picture's numbers."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=SCALING_FACTOR,
        mid_block_add_attention=False,
    )


@dataclass
class Reconstruction:
    """The task of giving pictures back.

    Attributes:
        module: the autoencoder.
        pictures: endless batches (samples, 3, 64, 64) in [-1, 1].
        samples: pictures in a batch.
        device: where the module is.
    """

    module: AutoencoderKL
    pictures: Iterator[Tensor]
    samples: int
    device: torch.device
    adam_names: tuple[str, ...] = ("conv_in", "conv_out", "quant_conv")

    def loss(self) -> tuple[Tensor, float]:
        """Loss of a fresh batch, and its mean squared error."""
        pictures = next(self.pictures).to(self.device)
        with autocast(self.device):
            posterior = self.module.encode(pictures).latent_dist
            restored = self.module.decode(posterior.sample()).sample
        loss = distance(restored.float(), pictures) + KL_WEIGHT * divergence(
            posterior.mean.float(), posterior.logvar.float()
        )
        return loss, F.mse_loss(restored.detach().float(), pictures).item()


def distance(restored: Tensor, pictures: Tensor) -> Tensor:
    """Absolute and squared error, and the absolute error of the differences between neighbours."""
    error = restored - pictures
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + error.square().mean() + EDGE_WEIGHT * edges


def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Kullback-Leibler divergence from the standard normal, in nats per latent number."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()


def signal_to_noise(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB of pictures in [-1, 1]."""
    return -10 * log10(mean_squared_error / 4)


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, pictures: Tensor) -> None:
    """Give the latents of `pictures` zero mean and, times the scaling factor, unit deviation.

    Changes only the two 1 x 1 convolutions around the latents; what the autoencoder restores
    stays the same.
    """
    latents = vae.encode(pictures).latent_dist.mean
    mean = latents.mean(dim=(0, 2, 3))
    deviation = latents.std(dim=(0, 2, 3)) * SCALING_FACTOR
    channels = mean.numel()
    weight, bias = vae.quant_conv.get_parameter("weight"), vae.quant_conv.get_parameter("bias")
    weight[:channels] /= deviation[:, None, None, None]
    bias[:channels] = (bias[:channels] - mean) / deviation
    bias[channels:] -= 2 * deviation.log()
    weight, bias = (vae.post_quant_conv.get_parameter(name) for name in ("weight", "bias"))
    bias.add_(weight[:, :, 0, 0] @ mean)
    weight.mul_(deviation[None, :, None, None])
