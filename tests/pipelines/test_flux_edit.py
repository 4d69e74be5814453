"""FLUX that begins with a picture, or draws a part of one anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import dpnb
from dpnb.pipelines.flux_edit import FluxImg2ImgArguments
from dpnb.strategies.placement import SequentialOffload
from tests.strategies.pipes import LINK, build

PICTURE = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
MASK = Image.fromarray(np.repeat(np.array([[0, 255]], dtype=np.uint8), 16, axis=1).repeat(32, 0))

KINDS = (dpnb.FluxImg2ImgPipeline, dpnb.FluxInpaintPipeline)


def make(kind: Any) -> Any:
    pipe = kind.from_pipe(build("tiny-flux"))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, **given: Any) -> Any:
    pictures = {
        name.argument: {"image": PICTURE, "mask_image": MASK}[name.argument]
        for name in pipe.picture_inputs
    }
    asked = {
        "height": 32,
        "width": 32,
        "num_inference_steps": 4,
        "output_type": "pt",
        "generator": torch.manual_seed(0),
    }
    return pipe("a cat", **{**asked, **pictures, **given}).images


@pytest.mark.parametrize("kind", KINDS)
def test_streamed_the_picture_is_the_same(kind: Any) -> None:
    pipe = make(kind)
    plain = draw(pipe)
    with pipe.strategies.using(SequentialOffload(device=LINK)):
        assert torch.equal(draw(pipe), plain)
    assert torch.equal(draw(pipe), plain)


@pytest.mark.parametrize("kind", KINDS)
def test_its_cost_is_planned(kind: Any) -> None:
    table = dpnb.plan(make(kind), device="RTX 3060", height=32, width=32)
    assert [row for row in table if row.peaks]


def test_what_is_not_masked_stays() -> None:
    pipe = make(dpnb.FluxInpaintPipeline)
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
        make(dpnb.FluxImg2ImgPipeline)("a cat")
    with pytest.raises(ValueError, match="leaves none of 4 steps"):
        draw(make(dpnb.FluxImg2ImgPipeline), strength=0.0)
