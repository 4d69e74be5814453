"""A whole picture of the emoji model, in turn with diffusers.

Run with `python -m tests.benchmarks.bench_emoji [threads]`.
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


def draw(pipe: Any, prompts: list[str]) -> Any:
    """Twenty steps with guidance, as an array."""
    return pipe(
        prompts,
        num_inference_steps=20,
        guidance_scale=5.0,
        output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    ours = dpnb.StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    theirs = diffusers.StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    for pipe in (ours, theirs):
        pipe.set_progress_bar_config(disable=True)
    for count in (1, 8):
        prompts = ["red apple"] * count
        difference = np.abs(draw(ours, prompts) - draw(theirs, prompts)).max()
        result = compare(partial(draw, ours, prompts), partial(draw, theirs, prompts), rounds=5)
        print(f"emoji, batch {count}   {result}   difference {difference:.1e}", flush=True)
