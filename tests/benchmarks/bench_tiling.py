"""Decoding in strips against decoding whole: processor time, live bytes and difference.

Stable Diffusion's autoencoder with random weights in float32. diffusers' tiles of 256 pixels stand
beside: smaller than its own default of 512, with which it would not tile a picture of 512 at all.

Run with `python -m tests.benchmarks.bench_tiling [512] [1024] [memory]`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import diffusers
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from dpnb import AutoencoderKL
from dpnb.metering.tensors import TensorMeter
from dpnb.models.coders import Coder, DirectCoder, TiledCoder
from dpnb.pipelines.architectures import ARCHITECTURES
from dpnb.units import format_bytes
from tests.benchmarks.bench_networks import pair
from tests.benchmarks.compare import compare

SETTINGS = dict(ARCHITECTURES["sd15"].vae)
"""The shape of the autoencoder."""


def bench(side: int, rounds: int) -> None:
    """Decode one picture of `side` pixels in every way, in turn with the plain one."""
    torch.set_num_threads(1)
    ours, theirs = pair(AutoencoderKL, diffusers.AutoencoderKL, SETTINGS)
    z = torch.randn(1, 4, side // 8, side // 8, generator=torch.Generator().manual_seed(0))

    def whole() -> Any:
        return DirectCoder().decode(ours, z)

    for coder in (TiledCoder(), TiledCoder(spill=True), TiledCoder(256, blended=True)):
        _report(f"{side} {coder}", lambda coder=coder: coder.decode(ours, z), whole, rounds)

    def their_tiles() -> Any:
        return theirs.decode(z).sample

    def their_whole() -> Any:
        theirs.disable_tiling()
        out = theirs.decode(z).sample
        theirs.enable_tiling()
        return out

    theirs.enable_tiling()
    theirs.tile_sample_min_size, theirs.tile_latent_min_size = 256, 32
    _report(f"{side} diffusers' tiles", their_tiles, their_whole, rounds)


def _report(
    name: str, tiled: Callable[[], Tensor], whole: Callable[[], Tensor], rounds: int
) -> None:
    plain = whole()
    difference = (tiled() - plain).abs().max() / (plain.max() - plain.min())
    del plain
    ratio = compare(tiled, whole, rounds=rounds, warm_up=0).ratio
    print(f"{name:60} time {ratio:.2f} of whole   difference {difference:.1e} of range", flush=True)


def bench_memory() -> None:
    """Live bytes at the highest point, of tensors without values."""
    for dtype in (torch.float32, torch.bfloat16):
        for side in (64, 512, 1024, 2048):
            plain = _peak(DirectCoder(), side, dtype)
            print(f"{dtype} {side}: whole {format_bytes(plain)}", flush=True)
            for coder in (TiledCoder(), TiledCoder(spill=True), TiledCoder(blended=True)):
                count = _peak(coder, side, dtype)
                print(
                    f"    {coder!s:50} {format_bytes(count)}   ratio {count / plain:.3f}   "
                    f"spilled {format_bytes(coder.store.peak)}",
                    flush=True,
                )


def _peak(coder: Coder, side: int, dtype: torch.dtype) -> int:
    default = torch.get_default_dtype()
    with FakeTensorMode(), torch.no_grad():
        torch.set_default_dtype(dtype)
        try:
            vae = AutoencoderKL(**SETTINGS).eval()
        finally:
            torch.set_default_dtype(default)
        z = torch.empty(1, 4, side // 8, side // 8, dtype=dtype)
        with TensorMeter() as meter:
            coder.decode(vae, z)
    return meter.peak


if __name__ == "__main__":
    with torch.no_grad():
        for part in sys.argv[1:] or ["512", "1024", "memory"]:
            if part == "memory":
                bench_memory()
            else:
                bench(int(part), rounds=3 if int(part) <= 512 else 1)
