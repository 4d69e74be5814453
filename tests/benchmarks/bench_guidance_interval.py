"""What guidance within an interval costs beside guidance in every step, and how far pictures part.

Run with `python -m tests.benchmarks.bench_guidance_interval [steps]`.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor

import dpnb
from dpnb.emoji import PROMPTS
from dpnb.emoji.autoencoder import signal_to_noise
from tests.benchmarks.compare import compare

INTERVALS = ((0.3, 0.7), (0.2, 0.9), (0.4, 1.0))
"""The default, that of Stable Diffusion XL, and one that leaves out the noisiest steps alone."""


def draw(pipe: Any, steps: int, prompts: tuple[str, ...]) -> Tensor:
    """Pictures of the model inside, `[pictures, height, width, 3]` in [0, 1]."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(len(prompts))]
    return torch.from_numpy(
        pipe(
            list(prompts), num_inference_steps=steps, generator=generators, output_type="np"
        ).images
    )


def draw_within(
    pipe: Any, steps: int, prompts: tuple[str, ...], interval: dpnb.GuidanceInterval
) -> None:
    """Pictures with guidance within an interval."""
    with pipe.strategies.using(interval):
        draw(pipe, steps, prompts)


def main(steps: int) -> None:
    """Time one picture turn by turn, and compare the pictures of many prompts."""
    torch.set_num_threads(1)
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    plain = draw(pipe, steps, PROMPTS)
    print(f"model inside, {steps} steps: time beside guidance in every step, median; PSNR")
    for start, end in INTERVALS:
        interval = dpnb.GuidanceInterval(start, end)

        times = []
        for pictures in (1, 4):
            prompts = PROMPTS[:pictures]
            ours = partial(draw_within, pipe, steps, prompts, interval)
            times.append(compare(ours, partial(draw, pipe, steps, prompts), rounds=5).ratio)
        with pipe.strategies.using(interval):
            error = (draw(pipe, steps, PROMPTS) - plain).square().flatten(1).mean(dim=1)
        levels = sorted(signal_to_noise(4 * one) for one in error.tolist())
        print(
            f"{start:.1f} to {end:.1f}: time {times[0]:.3f}, of four pictures {times[1]:.3f}; "
            f"{levels[len(levels) // 2]:.1f} dB median of {len(levels)}, {levels[0]:.1f} worst",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
