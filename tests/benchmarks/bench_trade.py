"""What several strategies together save, and what they do to pictures, on the model inside.

Run with `python -m tests.benchmarks.bench_trade [seeds] [prompts] [batch]`: so many seeds (1) of so
many prompts (24), so many pictures at once (4), plain and under each plan in turn, in processor
seconds. FLIP and PSNR are the means over pictures.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

import numpy as np
import torch

import dpnb
from dpnb.emoji import PROMPTS
from dpnb.strategies.strategy import Strategy

CACHE, SPAN = dpnb.StepCache(), dpnb.GuidanceInterval()
HALF = dpnb.Precision("bfloat16")
PLANS: dict[str, list[Strategy]] = {
    "StepCache": [CACHE],
    "GuidanceInterval": [SPAN],
    "Precision": [HALF],
    "StepCache + GuidanceInterval": [CACHE, SPAN],
    "StepCache + Precision": [CACHE, HALF],
    "all three": [CACHE, SPAN, HALF],
    "all three, cache safe": [dpnb.StepCache.safe(), SPAN, HALF],
}


def draw(pipe: Any, prompt: str, seed: int, batch: int) -> tuple[np.ndarray, float]:
    """Pictures `[batch, height, width, 3]`, and the processor seconds that they took."""
    generators = [torch.Generator().manual_seed(seed * batch + k) for k in range(batch)]
    begun = time.process_time()
    made = pipe([prompt] * batch, num_inference_steps=20, generator=generators, output_type="np")
    return made.images, time.process_time() - begun


def main(seeds: int = 1, count: int = 24, batch: int = 4) -> None:
    """Print the ratio of medians and the mean differences of each plan."""
    torch.set_num_threads(1)
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    for plan in ([], *PLANS.values()):
        with pipe.strategies.using(*plan):
            draw(pipe, PROMPTS[0], 0, batch)
    plain: list[float] = []
    ratios: dict[str, list[float]] = {name: [] for name in PLANS}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in PLANS}
    for seed in range(seeds):
        for prompt in PROMPTS[:count]:
            expected, seconds = draw(pipe, prompt, seed, batch)
            plain.append(seconds)
            for name, plan in PLANS.items():
                with pipe.strategies.using(*plan):
                    pictures, took = draw(pipe, prompt, seed, batch)
                ratios[name].append(seconds / took)
                found = dpnb.compare(list(expected), list(pictures), ["flip", "psnr"])
                assert found.flip is not None
                assert found.psnr is not None
                seen[name].append((found.flip.mean, found.psnr.mean))
    print(f"{len(plain)} runs of {batch} pictures; plain {statistics.median(plain):.3f} s")
    for name in PLANS:
        flip, psnr = np.mean(seen[name], axis=0)
        ratio = statistics.median(ratios[name])
        print(f"{name:32} {ratio:.2f} ×  FLIP {flip:.3f}  PSNR {psnr:.1f} dB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
