"""What reuse between steps saves, and what it does to pictures, on the model inside.

Run with `python -m tests.benchmarks.bench_step_cache [seeds] [prompts]`: so many seeds (1) of so
many prompts (24), one picture at a time, plain and with each setting in turn. FLIP is that of
`flip-evaluator` at its usual distance; beside it stands PSNR.
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
from dpnb.strategies.step_cache import StepCache

SETTINGS: dict[str, StepCache] = {
    "safe": StepCache.safe(),
    "default": StepCache(),
    "fast": StepCache.fast(),
}


def draw(pipe: Any, prompt: str, seed: int, steps: int = 20) -> tuple[np.ndarray, float]:
    """A picture `[height, width, 3]`, and the processor seconds that it took."""
    begun = time.process_time()
    generator = torch.Generator().manual_seed(seed)
    made = pipe(prompt, num_inference_steps=steps, generator=generator, output_type="np")
    return made.images[0], time.process_time() - begun


def main(settings: dict[str, StepCache], seeds: int = 1, count: int = 24) -> None:
    """Print the ratio of medians and the mean differences of each setting."""
    torch.set_num_threads(1)
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)
    draw(pipe, PROMPTS[0], 0)
    plain: list[float] = []
    taken: dict[str, list[float]] = {name: [] for name in settings}
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in settings}
    for seed in range(seeds):
        for prompt in PROMPTS[:count]:
            expected, seconds = draw(pipe, prompt, seed)
            plain.append(seconds)
            for name, strategy in settings.items():
                with pipe.strategies.using(strategy):
                    picture, seconds = draw(pipe, prompt, seed)
                taken[name].append(seconds)
                found = dpnb.compare(expected, picture, ["flip", "psnr"])
                assert found.flip is not None
                assert found.psnr is not None
                seen[name].append((found.flip.mean, found.psnr.mean))
    print(f"{len(plain)} pictures of 20 steps; plain {statistics.median(plain):.3f} s")
    for name in settings:
        ratio = statistics.median(plain) / statistics.median(taken[name])
        flips, psnrs = zip(*seen[name], strict=True)
        print(
            f"{name:30} {ratio:5.2f} x as fast   FLIP {statistics.mean(flips):.4f}, at most "
            f"{max(flips):.3f}   PSNR {statistics.mean(psnrs):.1f} dB",
            flush=True,
        )


if __name__ == "__main__":
    main(SETTINGS, *map(int, sys.argv[1:]))
