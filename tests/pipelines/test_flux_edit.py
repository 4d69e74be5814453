"""FLUX that begins with a picture, or draws a part of one anew."""

from __future__ import annotations

import pytest
import torch

import dpnb
from dpnb.pipelines.flux_edit import FluxImg2ImgArguments
from tests.pipelines.derived import derive, draw


def test_what_is_not_masked_stays() -> None:
    pipe = derive(dpnb.FluxInpaintPipeline)
    scale = pipe.vae_scale_factor
    first, second = (
        pipe._unpack_latents(draw(pipe, output_type="latent", guidance_scale=s), 32, 32, scale)
        for s in (1.0, 9.0)
    )
    half = first.shape[-1] // 2
    assert torch.equal(first[..., :half], second[..., :half])
    assert not torch.allclose(first[..., half:], second[..., half:])


@pytest.mark.parametrize(("strength", "left"), [(0.1, 1), (0.35, 3), (0.6, 5), (1.0, 7)])
def test_a_step_that_is_left_in_part_is_taken(strength: float, left: int) -> None:
    assert FluxImg2ImgArguments("a cat", strength=strength).steps_left(7) == left


def test_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="FluxImg2ImgPipeline begins with a picture; give image="):
        derive(dpnb.FluxImg2ImgPipeline)("a cat")
    with pytest.raises(ValueError, match="leaves none of 4 steps"):
        draw(derive(dpnb.FluxImg2ImgPipeline), strength=0.0)
