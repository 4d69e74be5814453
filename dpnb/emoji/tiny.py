"""Teach a tiny autoencoder what the emoji model's own one does: `python -m dpnb.emoji.tiny`.

Its teacher decodes any latents, so that those of a few hundred pictures, moved, mixed and blurred
by noise, are enough.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpnb.emoji import FOLDER, PROMPTS
from dpnb.emoji.autoencoder import distance, signal_to_noise
from dpnb.emoji.concepts import load_concepts
from dpnb.emoji.trainer import Trainer, TrainingPlan
from dpnb.emoji.workers import Workers
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.tiny_autoencoder import AutoencoderTiny
from dpnb.pipelines.stable_diffusion import StableDiffusionPipeline

TINY: Path = FOLDER / "tiny_vae"
"""Where it stands beside the model."""

STEPS = 8
AT_ONCE = 16
SAMPLES = 8
SHIFT = 3
"""Latents that a picture is moved by, at most."""

NOISE = 0.3
"""The most noise on latents, whose own deviation is 1: those that early steps foresee are off."""


def build_tiny_autoencoder() -> AutoencoderTiny:
    """The network: a tenth of the autoencoder's weights, and a third of its time to decode."""
    return AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16),
        num_encoder_blocks=(1, 1, 1),
        decoder_block_out_channels=(16, 16, 16),
        num_decoder_blocks=(3, 2, 1),
    )


@dataclass
class Imitation:
    """The task of decoding and encoding as a teacher does.

    Attributes:
        module: learns.
        teacher: the autoencoder.
        latents: of pictures, as the denoising network makes them, `[pictures, 4, 16, 16]`.
        samples: in a batch.
    """

    module: AutoencoderTiny
    teacher: AutoencoderKL
    latents: Tensor
    samples: int = SAMPLES
    adam_names: ClassVar[tuple[str, ...]] = ("layers.0.", "encoder.layers.6", "decoder.layers.13")

    def loss(self) -> tuple[Tensor, float]:
        """Loss of a fresh batch, and its mean squared error."""
        latents = vary(self.latents, self.samples)
        pictures = decode(self.teacher, latents)
        restored: Tensor = self.module.decode(latents).sample
        encoded: Tensor = self.module.encode(pictures).latents
        loss = distance(restored, pictures) + 0.1 * F.l1_loss(encoded, latents)
        return loss, F.mse_loss(restored.detach(), pictures).item()


def vary(latents: Tensor, count: int) -> Tensor:
    """Some latents, turned, moved, mixed with others, and with noise."""
    chosen, others = latents[torch.randint(len(latents), (2, count))]
    share = torch.rand(count, 1, 1, 1) / 2 * (torch.rand(count, 1, 1, 1) < 0.3)
    mixed = torch.lerp(chosen, others, share)
    mixed = mixed + torch.rand(count, 1, 1, 1) * NOISE * torch.randn_like(mixed)
    shifts: list[int] = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
    moved = mixed.roll(shifts, dims=(2, 3))
    return moved.flip(3) if torch.rand(()) < 0.5 else moved


@torch.no_grad()
def decode(teacher: AutoencoderKL, latents: Tensor) -> Tensor:
    """The teacher's pictures of latents, in [-1, 1]."""
    pictures: Tensor = teacher.decode(latents / float(teacher.config.scaling_factor)).sample
    return pictures.clamp(-1, 1)


def draw_latents(pipe: StableDiffusionPipeline, prompts: list[str], seed: int) -> Tensor:
    """Latents that the model makes of prompts, `[prompts, 4, 16, 16]`."""
    made = []
    for first in range(0, len(prompts), AT_ONCE):
        few = prompts[first : first + AT_ONCE]
        generators = [torch.Generator().manual_seed(seed + first + n) for n in range(len(few))]
        asked: dict[str, Any] = {"num_inference_steps": STEPS, "output_type": "latent"}
        made.append(pipe(few, generator=generators, **asked).images)
    return torch.cat(made)


def measure(tiny: AutoencoderTiny, teacher: AutoencoderKL, latents: Tensor) -> float:
    """How near its pictures are to the teacher's, in dB."""
    with torch.no_grad():
        restored: Tensor = tiny.decode(latents).sample.clamp(-1, 1)
    return signal_to_noise(F.mse_loss(restored, decode(teacher, latents)).item())


def train(minutes: float, checkpoint: Path) -> Iterator[str]:
    """Train, write the network beside the model, and say how it goes."""
    pipe = StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    torch.manual_seed(0)
    names = [name for concept in load_concepts() for name in concept.bare_names[:1]]
    latents, kept = draw_latents(pipe, names, 100), draw_latents(pipe, list(PROMPTS), 0)
    yield f"{len(latents)} pictures are drawn"
    task = Imitation(build_tiny_autoencoder(), pipe.vae.requires_grad_(False), latents)
    plan = TrainingPlan(minutes, muon_lr=0.01, adam_lr=2e-3, averaging=0.998)
    trainer = Trainer(task, plan, Workers(), checkpoint)
    for report in trainer.run():
        if report.step % 250 == 0 or report.is_saved:
            level = measure(trainer.averaged, pipe.vae, kept)  # type: ignore[arg-type]
            yield f"{report.elapsed:5.0f} s, step {report.step}: {level:.2f} dB of the full one's"
    save(trainer.averaged)


def save(tiny: nn.Module) -> None:
    """Write the network beside the model, in float16."""
    halved: Any = deepcopy(tiny).half()
    halved.save_pretrained(TINY)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m dpnb.emoji.tiny")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--work", type=Path, default=Path("tiny.pt"))
    options = parser.parse_args()
    for line in train(options.minutes, options.work):
        print(line, flush=True)
