"""Stage two: the text encoder and the denoising network, trained together."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.emoji.autoencoder import SCALING_FACTOR
from dpnb.emoji.precision import autocast
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.nn.attention import Attention
from dpnb.nn.attention_kernels import plain_attention
from dpnb.silence import silence_imports

with silence_imports():
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TIMESTEPS = 1000
BETA_START, BETA_END = 0.00085, 0.012
LARGEST_RATIO = 5.0
NOISE_PREFERENCE = 0.6
"""Power of uniform numbers that gives timesteps; below one, noisy ones are trained more often."""


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The text encoder: 0.77 M parameters, 128 numbers for each of 77 tokens."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=384,
            projection_dim=128,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_unet() -> UNet2DConditionModel:
    """The denoising network: 4.2 M parameters, three levels, words heard at 8 x 8 and 4 x 4."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(48, 96, 128),
        layers_per_block=1,
        cross_attention_dim=128,
        attention_head_dim=4,
        norm_num_groups=16,
    )


class WordsToPictures(nn.Module):
    """Text encoder and denoising network as one thing to train.

    Args:
        tokenizer: decides the size of the vocabulary.
    """

    def __init__(self, tokenizer: CLIPTokenizer) -> None:
        super().__init__()
        self.text_encoder = build_text_encoder(tokenizer)
        self.unet = build_unet()

    def use_plain_attention(self) -> None:
        """Take attention written out, in both networks, for the whole training.

        On a CPU the fused kernel's backward pass took a third of a training step.
        """
        self.text_encoder.set_attn_implementation("eager")
        for module in self.unet.modules():
            if isinstance(module, Attention):
                module.kernel = plain_attention

    @override
    def forward(self, noisy: Tensor, timesteps: Tensor, tokens: Tensor, draws: int) -> Tensor:
        """Predicted velocity (captions * draws, 4, 16, 16).

        Args:
            noisy: noisy latents of that shape, the draws of one caption together.
            timesteps: (captions * draws,).
            tokens: (captions, 77).
            draws: noisy latents to a caption.
        """
        states = self.text_encoder(tokens).last_hidden_state
        states = states.repeat_interleave(draws, dim=0)
        velocity: Tensor = self.unet(noisy, timesteps, states).sample
        return velocity


@dataclass
class Denoising:
    """The task of telling noise from picture.

    Attributes:
        module: what learns.
        vae: the finished autoencoder, standardised.
        tokenizer: of the captions.
        batches: endless pictures (captions, 3, 64, 64) and captions.
        captions: in a batch.
        draws: noise levels for each of them.
        device: where the module and the autoencoder are.
    """

    module: WordsToPictures
    vae: AutoencoderKL
    tokenizer: CLIPTokenizer
    batches: Iterator[tuple[Tensor, list[str]]]
    captions: int
    draws: int
    device: torch.device
    adam_names: tuple[str, ...] = ("embedding", "conv_in", "conv_out")

    def __post_init__(self) -> None:
        self.samples = self.captions * self.draws
        self.alphas_cumprod = compute_alphas_cumprod().to(self.device)

    def loss(self) -> tuple[Tensor, float]:
        """Weighted loss of a fresh batch, and its plain mean squared error.

        Velocity as target: Salimans and Ho (2022), arXiv:2202.00512. Weights after Hang et al.
        (2023), arXiv:2303.09556, brought to a mean of one.
        """
        pictures, captions = next(self.batches)
        with autocast(self.device):
            latents = self.encode(pictures.to(self.device))
            timesteps = sample_timesteps(latents.shape[0]).to(self.device)
            signal = self.alphas_cumprod[timesteps]
            noisy, velocity = add_noise(latents, torch.randn_like(latents), signal)
            tokens = self.tokenize(captions).to(self.device)
            predicted = self.module(noisy, timesteps, tokens, self.draws)
        errors = (predicted.float() - velocity).square().mean(dim=(1, 2, 3))
        weights = compute_loss_weights(signal)
        return (errors * weights / weights.mean()).mean(), errors.detach().mean().item()

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Scaled latents of `pictures`, each repeated for its draws, in float32."""
        latents: Tensor = self.vae.encode(pictures).latent_dist.mean
        return latents.float().repeat_interleave(self.draws, dim=0) * SCALING_FACTOR

    def tokenize(self, captions: list[str]) -> Tensor:
        """Token numbers (captions, 77)."""
        tokens: Tensor = self.tokenizer(
            captions, padding="max_length", truncation=True, return_tensors="pt"
        ).input_ids
        return tokens


def compute_alphas_cumprod() -> Tensor:
    """The share of the picture in a noisy latent's variance, (1000,), often called alpha bar."""
    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(dim=0).float()


def sample_timesteps(count: int) -> Tensor:
    """`count` random timesteps, one from each of as many stretches, in random order.

    The stretches are equally likely, and shorter where much noise is left: there the words decide
    what the picture shows.
    """
    places = (torch.randperm(count) + torch.rand(count)) / count
    return (places**NOISE_PREFERENCE * TIMESTEPS).long().clamp(max=TIMESTEPS - 1)


def add_noise(latents: Tensor, noise: Tensor, signal: Tensor) -> tuple[Tensor, Tensor]:
    """Noisy latents and their velocity, for shares of signal (batch,)."""
    kept = signal.sqrt()[:, None, None, None]
    added = (1 - signal).sqrt()[:, None, None, None]
    return kept * latents + added * noise, kept * noise - added * latents


def compute_loss_weights(signal: Tensor) -> Tensor:
    """Weights of velocity errors (batch,): one, but less where hardly any noise is left.

    In terms of the picture's error it is Salimans and Ho's SNR + 1, clipped at 5 as Hang et al.
    clip. Their own min(SNR, 5) / (SNR + 1) nearly ignores the noisiest levels, where the words
    alone decide the picture's layout: with few samples those are what is missing.
    """
    ratio = signal / (1 - signal) + 1
    return ratio.clamp(max=LARGEST_RATIO) / ratio
