"""Fit the colours of previews to the emoji model's latents: `python -m dpnb.emoji.preview`."""

from __future__ import annotations

import torch

from dpnb.emoji import FOLDER, PROMPTS
from dpnb.pipelines.pictures.previews import LatentColours
from dpnb.pipelines.stable_diffusion import StableDiffusionPipeline

STEPS = 10


def fit() -> LatentColours:
    """The colours that suit the latents of the model's own pictures best."""
    pipe = StableDiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(PROMPTS))]
    latents = pipe(
        list(PROMPTS), num_inference_steps=STEPS, generator=generators, output_type="latent"
    ).images
    with torch.no_grad():
        pictures = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    return LatentColours.fit(latents, pictures)


if __name__ == "__main__":
    fit().save(FOLDER)
