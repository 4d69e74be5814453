"""What merged tokens cost beside all of them, and how far predictions and pictures part.

Run with `python -m tests.benchmarks.bench_token_merging`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

import dpnb
from dpnb.emoji import PROMPTS
from dpnb.emoji.autoencoder import signal_to_noise
from dpnb.metering.tensors import TensorMeter
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.units import format_bytes
from tests.benchmarks.bench_networks import NARROW
from tests.benchmarks.compare import compare
from tests.strategies.foreign_owner import PartsStack

RATIOS = (0.25, 0.5, 0.75)


def peak(call: Any) -> str:
    """Live bytes at the highest point of a call, beyond what lives before it."""
    with TensorMeter() as meter:
        call()
    return format_bytes(int(meter.peak))


@torch.no_grad()
def bench_unet(side: int) -> None:
    """SD 1.5's UNet, narrow, with random weights."""
    torch.manual_seed(0)
    unet: Any = dpnb.UNet2DConditionModel(**{**ARCHITECTURES["sd15"].unet, **NARROW}).eval()
    stack = PartsStack(unet=unet)
    x, context, t = torch.randn(2, 4, side, side), torch.randn(2, 77, 64), torch.tensor(500)

    def predict(*strategies: dpnb.TokenMerging) -> Tensor:
        with stack.using(*strategies):
            noise: Tensor = unet(x, t, context).sample
        return noise

    plain = predict()
    for ratio in RATIOS:
        merging = dpnb.TokenMerging(ratio)
        result = compare(partial(predict, merging), predict, rounds=5)
        error = ((predict(merging) - plain).square().mean() / plain.square().mean()).sqrt()
        print(
            f"narrow SD 1.5, {side} x {side} latents, {ratio:.0%} merged: time {result.ratio:.3f}, "
            f"live bytes {peak(partial(predict, merging))} beside {peak(predict)}, "
            f"prediction off by {error:.1%}",
            flush=True,
        )


def bench_pictures(steps: int = 20) -> None:
    """The model inside, whose feature maps attend at 8 x 8 positions."""
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)

    def draw() -> Tensor:
        seeds = [torch.Generator().manual_seed(seed) for seed in range(len(PROMPTS))]
        asked = {"num_inference_steps": steps, "generator": seeds, "output_type": "np"}
        return torch.from_numpy(pipe(list(PROMPTS), **asked).images)

    plain = draw()
    for ratio in RATIOS:
        with pipe.strategies.using(dpnb.TokenMerging(ratio)):
            error = (draw() - plain).square().flatten(1).mean(dim=1)
        levels = sorted(signal_to_noise(4 * one) for one in error.tolist())
        print(
            f"model inside, {ratio:.0%} merged: {levels[len(levels) // 2]:.1f} dB median of "
            f"{len(levels)} pictures, {levels[0]:.1f} worst",
            flush=True,
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    bench_unet(32)
    bench_unet(64)
    bench_pictures()
