"""FLUX that follows another picture."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.errors import ComponentError
from tests.pipelines.derived import PICTURE, derive, draw
from tests.strategies.pipes import build

KIND = dpnb.FluxControlPipeline


def test_each_prompt_follows_its_own_picture() -> None:
    pipe = derive(KIND)
    alone = [
        pipe(
            "a cat",
            control_image=picture,
            height=32,
            width=32,
            num_inference_steps=2,
            latents=torch.zeros(1, 4, 16, 16),
            generator=torch.manual_seed(0),
            output_type="pt",
        ).images
        for picture in (PICTURE, PICTURE.rotate(90))
    ]
    both = pipe(
        ["a cat", "a cat"],
        control_image=[PICTURE, PICTURE.rotate(90)],
        height=32,
        width=32,
        num_inference_steps=2,
        num_images_per_prompt=2,
        latents=torch.zeros(4, 4, 16, 16),
        generator=[torch.Generator().manual_seed(0) for _ in range(4)],
        output_type="pt",
    ).images
    for index, picture in enumerate(both):
        torch.testing.assert_close(picture, alone[index // 2][0], atol=2e-4, rtol=0)


def test_latents_may_be_followed() -> None:
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    assert draw(derive(KIND), control_image=latents).shape == (1, 3, 32, 32)


def test_what_it_cannot_do_is_refused() -> None:
    pipe = derive(KIND)
    with pytest.raises(ValueError, match="FluxControlPipeline follows a picture; give control_im"):
        draw(pipe, control_image=None)
    with pytest.raises(ValueError, match="control_image holds 2 pictures for 1 prompts; give one,"):
        draw(pipe, control_image=[PICTURE, PICTURE], num_images_per_prompt=4)
    with pytest.raises(ValueError, match="a tensor of 24 x 32 pixels, and 32 x 32 are drawn; give"):
        draw(pipe, control_image=torch.zeros(1, 3, 32, 24))
    with pytest.raises(TypeError, match="true_cfg_scale is not an argument"):
        draw(pipe, true_cfg_scale=2.0)
    other: Any = KIND.from_pipe(build("tiny-flux"))
    with pytest.raises(ComponentError, match=r"follows a picture takes 8, of.*use FluxPipeline"):
        draw(other)
