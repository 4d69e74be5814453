"""Latents that are drawn at twice their size."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import ComponentError
from tests.pipelines.derived import PICTURE, derive, draw
from tests.strategies.pipes import build

KIND = dpnb.StableDiffusionLatentUpscalePipeline


def test_latents_and_pictures_are_drawn_at_twice_their_size() -> None:
    pipe, own = derive(KIND), {"height": None, "width": None}
    scale = pipe.vae_scale_factor
    latents = torch.randn(1, 4, 12, 10, generator=torch.Generator().manual_seed(1))
    assert draw(pipe, image=latents, **own).shape[-2:] == (24 * scale, 20 * scale)
    assert draw(pipe, image=latents[0], **own).shape[-2:] == (24 * scale, 20 * scale)
    assert draw(pipe, image=latents.sigmoid(), **own).shape[-2:] == (24 * scale, 20 * scale)
    assert draw(pipe, image=PICTURE.resize((20, 16)), **own).shape[-2:] == (32, 40)


def test_the_network_is_told_the_noise_level_of_every_step() -> None:
    pipe, told = derive(KIND), list[float]()
    pipe.unet.register_forward_pre_hook(lambda _, args: told.append(float(args[1])))
    draw(pipe, num_inference_steps=3)
    sigmas = pipe.scheduler.sigmas[:3]
    torch.testing.assert_close(torch.tensor(told), sigmas.log() / 4)


def test_the_unit_of_sizes_is_that_of_what_is_enlarged() -> None:
    pipe = derive(KIND)
    pipe.vae = dpnb.AutoencoderKL(
        block_out_channels=(32,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ).eval()
    assert pipe.size_unit == 16
    drawn = draw(pipe, height=48, width=48, num_inference_steps=1)
    assert drawn.shape[-2:] == (48, 48)
    with pytest.raises(ValueError, match="height is 8; it must be a positive multiple of 16"):
        draw(pipe, height=8)


def test_what_it_cannot_do_is_refused() -> None:
    pipe: Any = derive(KIND)
    with pytest.raises(ValueError, match="image holds latents of"):
        draw(pipe, image=torch.randn(1, 4, 10, 10))
    with pytest.raises(ValueError, match="prompt_embeds is given without its pooled embeddings"):
        pipe(image=PICTURE, prompt_embeds=torch.zeros(1, 77, pipe.text_encoder.config.hidden_size))
    pipe.scheduler = dpnb.DDIMScheduler()
    with pytest.raises(ComponentError, match="DDIMScheduler does not have; use EulerDiscrete"):
        draw(pipe)
    base = build("tiny-sd")
    other: Any = KIND.from_pipe(base, scheduler=dpnb.EulerDiscreteScheduler())
    with pytest.raises(ComponentError, match="the UNet takes 4 channels; one that enlarges laten"):
        draw(other)
