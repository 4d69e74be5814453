"""What switches cost beside none, and beside the same switches of diffusers.

Run with `python -m tests.benchmarks.bench_strategies [slicing] [freeu] [cache]`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from diffusers.utils.torch_utils import fourier_filter
from torch import Tensor

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.skip_connections import scale_low_frequencies
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_bytes
from tests.benchmarks.bench_networks import NARROW, pair
from tests.benchmarks.compare import compare


def peak(call: Callable[[], Any]) -> int:
    """Live bytes at the highest point of `call`, beyond what lives before it."""
    with TensorMeter() as meter:
        call()
    return int(meter.peak)


def report(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], **how: Any) -> None:
    """Time two ways, and count their bytes."""
    result = compare(ours, theirs, **how)
    most = f"{format_bytes(peak(ours))} / {format_bytes(peak(theirs))}"
    print(f"{name:46} time {result.ratio:6.3f}   live bytes {most}", flush=True)


def bench_slicing() -> None:
    """SD 1.5's UNet, narrow, at 32 x 32 latents: sliced beside whole, here and in diffusers."""
    torch.set_num_threads(1)
    settings = {**ARCHITECTURES["sd15"].unet, **NARROW}
    ours, theirs = pair(dpnb.UNet2DConditionModel, diffusers.UNet2DConditionModel, settings)
    x, context, t = torch.randn(2, 4, 32, 32), torch.randn(2, 77, 64), torch.tensor(500)
    for size in ("auto", "max"):
        for name, network in (("dpnb", ours), ("diffusers", theirs)):
            report(
                f"attention slicing {size!r} beside whole, {name}",
                partial(sliced, network, size, x, t, context),
                partial(sliced, network, None, x, t, context),
                rounds=5,
            )


def sliced(network: Any, size: Any, x: Tensor, t: Tensor, context: Tensor) -> None:
    """One step; without a size, by torch's fused attention."""
    if isinstance(network, dpnb.UNet2DConditionModel):
        network.set_attention_slice(size)
    elif size is None:
        network.set_attn_processor(AttnProcessor2_0())
    else:
        network.set_attention_slice(size)
    network(x, t, context)


def bench_freeu() -> None:
    """The filter of the skips: as a projection, and by Fourier transform as in diffusers."""
    torch.set_num_threads(1)
    for channels, side in ((1280, 16), (1280, 32), (640, 64)):
        x = torch.randn(2, channels, side, side)
        difference = (scale_low_frequencies(x, 0.2) - fourier_filter(x, 1, 0.2)).abs().max().item()
        report(
            f"FreeU's filter, {channels} x {side} x {side}, beside FFT",
            partial(scale_low_frequencies, x, 0.2),
            partial(fourier_filter, x, 1, 0.2),
            rounds=7,
        )
        print(f"{'':46} difference {difference:.1e}")


def bench_cache() -> None:
    """The emoji model with its prompt's keys, values and time shifts remembered, and without."""
    torch.set_num_threads(1)
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
    pipe.set_progress_bar_config(disable=True)

    def draw(*plan: Strategy) -> None:
        pipe.strategies.use(plan)
        pipe("red apple", num_inference_steps=20, output_type="np")

    report("emoji, conditioning cache beside none", partial(draw, dpnb.ConditioningCache()), draw)
    report("emoji, QKV fusion beside none", partial(draw, dpnb.QKVFusion()), draw)


BENCHMARKS = {"slicing": bench_slicing, "freeu": bench_freeu, "cache": bench_cache}


@torch.no_grad()
def main() -> None:
    """Run those that are named, or all."""
    for name in sys.argv[1:] or BENCHMARKS:
        BENCHMARKS[name]()


if __name__ == "__main__":
    main()
