"""The model inside in bfloat16 beside float32, and quantized: time, memory, and the picture.

Run with `python -m tests.benchmarks.bench_precision [threads]`.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
from torch import Tensor

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_bytes
from tests.benchmarks.compare import compare

PLANS: dict[str, list[Strategy]] = {
    "bfloat16": [dpnb.Precision()],
    "bfloat16 UNet": [dpnb.Precision(components=("unet",))],
    "int8": [dpnb.Quantization()],
    "nf4": [dpnb.Quantization("nf4")],
    "int8 of bfloat16": [dpnb.Precision(), dpnb.Quantization()],
}


def draw(pipe: Any, batch: int) -> Tensor:
    """Pictures of one seed, `[batch, height, width, 3]`."""
    generator = torch.Generator().manual_seed(0)
    settings = {"num_inference_steps": 4, "output_type": "np", "generator": generator}
    images = pipe("red apple", num_images_per_prompt=batch, **settings).images
    return torch.from_numpy(images.copy())


def measure(pipe: Any) -> int:
    """Bytes at the peak of a picture: weights, and what the run makes."""
    with dpnb.record(pipe, TensorMeter()) as trace:
        draw(pipe, 1)
    return max(one.peak for one in trace.by_stage().values()) + idle_weight_bytes(
        pipe.strategies.networks
    )


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    narrow, wide = (dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64") for _ in range(2))
    for pipe in (narrow, wide):
        pipe.set_progress_bar_config(disable=True)
    plain, most = draw(wide, 1), measure(wide)
    print(f"{'float32':18} {format_bytes(most)}")
    for name, plan in PLANS.items():
        narrow.strategies.use(plan)
        off = (draw(narrow, 1) - plain).abs()
        print(
            f"{name:18} {format_bytes(measure(narrow))}  "
            f"largest difference {off.max():.3f}, mean {off.mean():.4f}"
        )
        for batch in (1, 8):
            found = compare(partial(draw, narrow, batch), partial(draw, wide, batch), rounds=5)
            least = min(found.theirs) / min(found.ours)
            print(f"    batch {batch}: {1 / found.ratio:.2f} times as fast ({least:.2f} at best)")
