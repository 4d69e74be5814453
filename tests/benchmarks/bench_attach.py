"""What attaching costs: pictures of diffusers' own pipeline, attached and not, turn by turn.

Nothing is switched on. Run with `python -m tests.benchmarks.bench_attach [rounds]`.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch

import dpnb
from dpnb.emoji import FOLDER
from tests.benchmarks.compare import compare
from tests.reference.checkpoints import diffusers


def load() -> Any:
    """The emoji model as a pipeline of diffusers."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(FOLDER, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def draw(pipe: Any, steps: int, count: int) -> Any:
    """Draw some pictures."""
    return pipe(["red apple"] * count, num_inference_steps=steps, output_type="latent")


if __name__ == "__main__":
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    attached, plain = load(), load()
    studio = dpnb.attach(attached)
    for count in (1, 4):
        for steps in (4, 20):
            ours = partial(draw, attached, steps, count)
            ratio = compare(ours, partial(draw, plain, steps, count), rounds=rounds).ratio
            print(f"batch {count}, {steps} steps: attached / plain {ratio:.3f}", flush=True)
