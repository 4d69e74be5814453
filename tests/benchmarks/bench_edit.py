"""Editing and self-attention guidance with the emoji model, in turn with diffusers.

Run with `python -m tests.benchmarks.bench_edit [threads]`.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import diffusers
import numpy as np
import torch

import dpnb
from dpnb.emoji import FOLDER
from tests.benchmarks.compare import compare
from tests.pictures import mask, picture

SIDE = 64

PICTURE: dict[str, Any] = {"image": picture(0, SIDE, SIDE)}
MASKED: dict[str, Any] = {**PICTURE, "mask_image": mask(SIDE, SIDE)}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "a picture to a picture, strength 0.5": (
        "StableDiffusionImg2ImgPipeline",
        {**PICTURE, "strength": 0.5},
    ),
    "inpainting, 4 channels, strength 0.5": (
        "StableDiffusionInpaintPipeline",
        {**MASKED, "strength": 0.5, "height": SIDE, "width": SIDE},
    ),
    "self-attention guidance": ("StableDiffusionSAGPipeline", {}),
}


def draw(pipe: Any, arguments: dict[str, Any]) -> Any:
    """Ten steps with guidance, as an array."""
    return pipe(
        "red apple",
        num_inference_steps=10,
        guidance_scale=5.0,
        output_type="np",
        generator=torch.Generator().manual_seed(0),
        **arguments,
    ).images


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    scheduler = diffusers.DDIMScheduler.from_pretrained(FOLDER, subfolder="scheduler")
    base = diffusers.StableDiffusionPipeline.from_pretrained(FOLDER, scheduler=scheduler)
    for name, (kind, arguments) in CASES.items():
        theirs = getattr(diffusers, kind).from_pipe(base)
        ours = getattr(dpnb, kind).from_pipe(base)
        for pipe in (ours, theirs):
            pipe.set_progress_bar_config(disable=True)
        difference = np.abs(draw(ours, arguments) - draw(theirs, arguments)).max()
        result = compare(partial(draw, ours, arguments), partial(draw, theirs, arguments), rounds=7)
        print(f"{name:40} {result}   difference {difference:.1e}", flush=True)
