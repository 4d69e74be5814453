"""Networks against diffusers: host time, processor time, and live activation bytes.

Run with `python -m tests.benchmarks.bench_networks [host] [compiled] [unet] [vae] [flux]`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import torch

import dpnb
from dpnb import AutoencoderKL, FluxTransformer2DModel, UNet2DConditionModel
from dpnb.metering.tensors import TensorMeter
from dpnb.nn.rotary import rotary_table
from dpnb.pipelines.flux_patches import positions
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, fill
from dpnb.units import format_bytes
from tests.benchmarks.compare import compare

NARROW = {"block_out_channels": (32, 64, 128, 128), "cross_attention_dim": 64, "norm_num_groups": 8}


def pair(ours: type[Any], theirs: type[Any], settings: dict[str, Any]) -> tuple[Any, Any]:
    """The same network twice, with the same random weights."""
    with torch.device("meta"):
        one, other = ours(**settings), theirs(**settings)
    fill(one, torch.float32, torch.Generator().manual_seed(0))
    other.load_state_dict(one.state_dict(), assign=True)
    return one, other.eval()


def peak(call: Callable[[], Any]) -> int:
    """Live bytes at the highest point of `call`, beyond what lives before it."""
    with TensorMeter() as meter:
        call()
    return int(meter.peak)


def report(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], **how: Any) -> None:
    """Time both, and compare what they return."""
    difference = (ours().sample - theirs().sample).abs().max().item()
    print(f"{name:34} {compare(ours, theirs, **how)}   difference {difference:.1e}", flush=True)


def bench_host() -> None:
    """Python and dispatch of one UNet call: SD 1.5's topology, narrow, on 8 x 8 latents."""
    torch.set_num_threads(1)
    settings = {**ARCHITECTURES["sd15"].unet, **NARROW}
    ours, theirs = pair(UNet2DConditionModel, diffusers.UNet2DConditionModel, settings)
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 64)
    t = torch.tensor(500)
    report(
        "UNet call, host time",
        lambda: ours(x, t, context),
        lambda: theirs(x, t, context),
        rounds=15,
        calls=5,
        warm_up=2,
    )


def bench_compiled() -> None:
    """The same UNet call by compiled blocks, beside diffusers as written and compiled."""
    torch.set_num_threads(1)
    settings = {**ARCHITECTURES["sd15"].unet, **NARROW}
    ours, theirs = pair(UNet2DConditionModel, diffusers.UNet2DConditionModel, settings)
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.register_modules(unet=ours)
    x, context = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 64)
    given = (x, torch.tensor(500), context)
    pipe.strategies.enable(dpnb.Compile())
    ours(*given)
    while ", " in pipe.strategies.remarks[0]:
        time.sleep(2)
        ours(*given)
    print(pipe.strategies.remarks[0])
    how = {"rounds": 15, "calls": 5, "warm_up": 2}
    report("… compiled beside theirs eager", partial(ours, *given), partial(theirs, *given), **how)
    theirs.compile_repeated_blocks()
    report("… beside theirs compiled", partial(ours, *given), partial(theirs, *given), **how)


def bench_unet() -> None:
    """One step of SD 1.5's UNet at 64 x 64 latents, batch 2, float32."""
    torch.set_num_threads(2)
    settings = dict(ARCHITECTURES["sd15"].unet)
    ours, theirs = pair(UNet2DConditionModel, diffusers.UNet2DConditionModel, settings)
    x, context = torch.randn(2, 4, 64, 64), torch.randn(2, 77, 768)
    t = torch.tensor(500)
    report(
        "UNet step, SD 1.5",
        lambda: ours(x, t, context),
        lambda: theirs(x, t, context),
        rounds=3,
    )
    _report_bytes("UNet step, SD 1.5", ours, theirs, (x, t, context))


def bench_vae() -> None:
    """One decode of SD 1.5's autoencoder at 64 x 64 latents, float32."""
    torch.set_num_threads(2)
    settings = dict(ARCHITECTURES["sd15"].vae)
    ours, theirs = pair(AutoencoderKL, diffusers.AutoencoderKL, settings)
    z = torch.randn(1, 4, 64, 64)
    report("VAE decode, SD 1.5", lambda: ours.decode(z), lambda: theirs.decode(z), rounds=3)
    _report_bytes("VAE decode, SD 1.5", ours.decode, theirs.decode, (z,))


FLUX_NARROW = {"num_attention_heads": 1, "joint_attention_dim": 64}

FLUX_SHORT = {"num_layers": 2, "num_single_layers": 4, "num_attention_heads": 6}
"""A tenth of FLUX's blocks, a quarter as wide."""


def bench_flux() -> None:
    """FLUX's transformer: all of its blocks, narrow, over few tokens; and few of them over many."""
    torch.set_num_threads(1)
    _report_flux("FLUX call, host time", FLUX_NARROW, (1, 8, 4), rounds=9, calls=2, warm_up=2)
    _report_flux("FLUX step, 512 x 512", FLUX_SHORT, (1, 512, 32), rounds=3)
    _report_flux("FLUX step, 512 x 512, batch 2", FLUX_SHORT, (2, 128, 32), rounds=3)


def _report_flux(
    name: str, changes: dict[str, int], shape: tuple[int, int, int], **how: Any
) -> None:
    """Time both for a batch, tokens of text, and patches along a side."""
    batch, text, side = shape
    settings = {**ARCHITECTURES["flux-dev"].transformer, **changes}
    ours, theirs = pair(FluxTransformer2DModel, diffusers.FluxTransformer2DModel, settings)
    given = {
        "hidden_states": torch.randn(batch, side * side, 64),
        "encoder_hidden_states": torch.randn(batch, text, ours.config.joint_attention_dim),
        "pooled_projections": torch.randn(batch, 768),
        "timestep": torch.full((batch,), 0.5),
        "guidance": torch.full((batch,), 3.5),
    }
    places = positions(text, 2 * side, 2 * side, torch.device("cpu"))
    table = rotary_table(places, ours.config.axes_dims_rope)
    one = partial(ours, **given, rotary=table)
    other = partial(theirs, **given, txt_ids=places[:text], img_ids=places[text:])
    report(name, one, other, **how)
    _report_bytes(name, one, other, ())


def _report_bytes(name: str, ours: Any, theirs: Any, arguments: tuple[Any, ...]) -> None:
    counts = [peak(partial(way, *arguments)) for way in (ours, theirs)]
    print(
        f"{name:34} dpnb {format_bytes(counts[0])}   diffusers {format_bytes(counts[1])}   "
        f"ratio {counts[0] / counts[1]:.2f}   (live activations at the peak)",
        flush=True,
    )


if __name__ == "__main__":
    parts = {
        "host": bench_host,
        "compiled": bench_compiled,
        "unet": bench_unet,
        "vae": bench_vae,
        "flux": bench_flux,
    }
    with torch.no_grad():
        for part in sys.argv[1:] or parts:
            parts[part]()
