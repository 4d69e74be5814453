"""Decoding in strips against decoding whole: processor time, live bytes and difference.

Stable Diffusion's autoencoder with random weights in float32. diffusers' tiles of 256 pixels stand
beside: smaller than its own default of 512, with which it would not tile a picture of 512 at all.

Run with `python -m tests.benchmarks.bench_tiling [256] [512] [1024] [memory]`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

import diffusers
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from dpnb import AutoencoderKL
from dpnb.metering.tensors import TensorMeter
from dpnb.models.coders import Coder, DirectCoder, TiledCoder
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from dpnb.units import format_bytes
from tests.benchmarks.bench_networks import pair

Decode: TypeAlias = Callable[[], Tensor]

SETTINGS = dict(ARCHITECTURES["sd15"].vae)
"""The shape of the autoencoder."""


def bench(side: int, rounds: int) -> None:
    """Decode one picture of `side` pixels in every way, turn by turn."""
    torch.set_num_threads(1)
    ours, theirs = pair(AutoencoderKL, diffusers.AutoencoderKL, SETTINGS)
    z = torch.randn(1, 4, side // 8, side // 8, generator=torch.Generator().manual_seed(0))
    theirs.tile_sample_min_size, theirs.tile_latent_min_size = 256, 32

    def by(coder: Coder) -> Decode:
        return lambda: coder.decode(ours, z)

    def their_tiles() -> Tensor:
        theirs.enable_tiling()
        out: Tensor = theirs.decode(z).sample
        theirs.disable_tiling()
        return out

    coders = (TiledCoder(), TiledCoder(spill=True), TiledCoder(256, blended=True))
    _report(side, rounds, by(DirectCoder()), {str(coder): by(coder) for coder in coders})
    _report(side, rounds, lambda: theirs.decode(z).sample, {"diffusers' tiles": their_tiles})


def _report(side: int, rounds: int, whole: Decode, ways: Mapping[str, Decode]) -> None:
    """Print each way's median processor time over that of `whole`, and its difference."""
    plain = whole()
    spread = plain.max() - plain.min()
    differences = {name: (way() - plain).abs().max() / spread for name, way in ways.items()}
    del plain
    times: dict[str, list[float]] = {name: [] for name in ("whole", *ways)}
    for _ in range(rounds):
        for name, way in {"whole": whole, **ways}.items():
            started = time.process_time()
            way()
            times[name].append(time.process_time() - started)
    base = statistics.median(times["whole"])
    for name, difference in differences.items():
        ratio = statistics.median(times[name]) / base
        print(
            f"{side} {name:50} time {ratio:.2f} of whole ({base:.1f} s)   "
            f"difference {difference:.1e} of the range",
            flush=True,
        )


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
    return int(meter.peak)


if __name__ == "__main__":
    with torch.no_grad():
        for part in sys.argv[1:] or ["512", "1024", "memory"]:
            if part == "memory":
                bench_memory()
            else:
                bench(int(part), rounds=3 if int(part) < 512 else 1)
