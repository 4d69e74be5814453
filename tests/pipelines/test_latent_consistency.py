"""Stable Diffusion distilled to a few steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

import dpnb
from dpnb.errors import ComponentError
from dpnb.strategies.placement import SequentialOffload
from tests.strategies.pipes import LINK, build

PICTURE = Image.linear_gradient("L").resize((32, 32)).convert("RGB")

KINDS = (dpnb.LatentConsistencyModelPipeline, dpnb.LatentConsistencyModelImg2ImgPipeline)


def make(kind: Any) -> Any:
    base: Any = build("tiny-sd")
    torch.manual_seed(0)
    unet = dpnb.UNet2DConditionModel.from_config({**base.unet.config, "time_cond_proj_dim": 8})
    pipe = kind.from_pipe(base, unet=unet.eval(), scheduler=dpnb.LCMScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, **given: Any) -> Any:
    picture = {"image": PICTURE} if pipe.picture_inputs else {}
    asked = {"output_type": "pt", "generator": torch.manual_seed(0)}
    return pipe("a cat", **{**asked, **picture, **given}).images


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


@pytest.mark.parametrize("kind", KINDS)
def test_it_takes_four_steps_and_sees_each_latent_once(kind: Any) -> None:
    pipe, sizes = make(kind), list[int]()
    pipe.unet.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    draw(pipe)
    assert sizes == [1, 1, 1, 1]


def test_what_it_cannot_do_is_refused() -> None:
    pipe = make(KINDS[0])
    with pytest.raises(TypeError, match="negative_prompt is not an argument of this pipeline: the"):
        draw(pipe, negative_prompt="a dog")
    seen = {
        "callback_on_step_end": lambda *_: {},
        "callback_on_step_end_tensor_inputs": ["latents"],
    }
    draw(pipe, **seen)
    seen["callback_on_step_end_tensor_inputs"] = ["negative_prompt_embeds"]
    with pytest.raises(ValueError, match="tensor_inputs names negative_prompt_embeds; this"):
        draw(pipe, **seen)
    with pytest.raises(ValueError, match="original_inference_steps"):
        draw(pipe, original_inference_steps=0)
    with pytest.raises(ValueError, match=r"strength is 0.0, which leaves nothing to draw"):
        draw(make(KINDS[1]), strength=0.0)
    pipe.scheduler = dpnb.DDIMScheduler()
    with pytest.raises(ComponentError, match="DDIMScheduler has none; use LCMScheduler"):
        draw(pipe)
