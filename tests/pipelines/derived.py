"""Pipelines of other classes over the parts of a random one, and how they are asked to draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

import dpnb
from tests.strategies.pipes import build

PICTURE = Image.linear_gradient("L").resize((32, 32)).convert("RGB")
MASK = Image.fromarray(np.repeat(np.array([[0, 255]], dtype=np.uint8), 16, axis=1).repeat(32, 0))

FLUX = (dpnb.FluxImg2ImgPipeline, dpnb.FluxInpaintPipeline)
CONSISTENCY = (dpnb.LatentConsistencyModelPipeline, dpnb.LatentConsistencyModelImg2ImgPipeline)


def derive(kind: Any) -> Any:
    """A pipeline of this class, one of those above."""
    if kind in FLUX:
        pipe = kind.from_pipe(build("tiny-flux"))
    else:
        base = build("tiny-sd")
        torch.manual_seed(0)
        unet = dpnb.UNet2DConditionModel.from_config({**base.unet.config, "time_cond_proj_dim": 8})
        pipe = kind.from_pipe(base, unet=unet.eval(), scheduler=dpnb.LCMScheduler())
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, **given: Any) -> Any:
    """The pictures of four steps, as tensors."""
    known = {"image": PICTURE, "mask_image": MASK}
    pictures = {one.argument: known[one.argument] for one in pipe.picture_inputs}
    asked = {
        "height": 32,
        "width": 32,
        "num_inference_steps": 4,
        "output_type": "pt",
        "generator": torch.manual_seed(0),
    }
    return pipe("a cat", **{**asked, **pictures, **given}).images
