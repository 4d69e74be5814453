"""What it costs to see whether a step's numbers are finite, as a share of the step.

Run with `python -m tests.benchmarks.bench_finite [architecture …]`; the share is at most 0.005
where the network is one that is used: emoji-64, sd15, sdxl.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from typing import Any

import torch

import dpnb
from dpnb.pipelines.finite import Finiteness
from dpnb.stages import Stage, Step

STEPS = 4
CHECKS = 300


def pipeline(name: str) -> Any:
    """The model inside the package, or a random one."""
    known = name == "emoji-64"
    pipe: Any = (
        dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
        if known
        else dpnb.random_pipeline(name)
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to("cuda") if torch.cuda.is_available() else pipe


def seconds_of_steps(pipe: Any, batch: int) -> Iterator[float]:
    """Of every denoising step but the first."""
    last = None
    steps = pipe.stream(
        "a cat",
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        num_images_per_prompt=batch,
        output_type="latent",
    )
    for step in steps:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if step.stage is Stage.DENOISING:
            if last is not None:
                yield now - last
            last = now


def seconds_of_check(pipe: Any, batch: int) -> Iterator[float]:
    """Of the two looks that are taken in a step: at the prediction, and at the latents."""
    height, width = (side // pipe.vae_scale_factor for side in pipe.default_size())
    channels = pipe.vae.config.latent_channels
    made = torch.randn(batch, channels, height, width, device=pipe.device, dtype=pipe.dtype)
    finiteness = Finiteness(pipe, batch)
    for index in range(CHECKS):
        step = Step(Stage.DENOISING, index, CHECKS)
        started = time.perf_counter()
        finiteness.note(step, made)
        finiteness.note(step, made)
        yield time.perf_counter() - started


if __name__ == "__main__":
    for name in sys.argv[1:] or ["tiny-sd", "tiny-flux", "emoji-64", "sd15"]:
        pipe = pipeline(name)
        for batch in (1, 4) if name != "sd15" else (1,):
            step = statistics.median(seconds_of_steps(pipe, batch))
            check = statistics.median(seconds_of_check(pipe, batch))
            print(
                f"{name:10} batch {batch}: step {step * 1e3:9.2f} ms, check {check * 1e6:6.1f} µs, "
                f"share {check / step:.5f}",
                flush=True,
            )
