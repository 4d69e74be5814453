"""SD 1.5's UNet in each dtype and layout, beside diffusers, and beside OpenVINO where it is there.

Run with `python -m tests.benchmarks.bench_layouts [threads] [openvino]`. Every cell is a step of
two pictures of 512 x 512 (as guidance has it), both libraries in turn; the last lines compare the
best of each.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import diffusers
import torch

from dpnb import UNet2DConditionModel
from dpnb.pipelines.shapes.architectures import ARCHITECTURES
from tests.benchmarks.bench_networks import pair
from tests.benchmarks.compare import compare

LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}

ROUNDS = 3


def bench_layout(one: Any, other: Any, dtype: torch.dtype, layout: str) -> tuple[float, float]:
    """Median seconds of a step of ours and theirs."""
    kept: Any = LAYOUTS[layout]
    for network in (one, other):
        network.to(dtype=dtype, memory_format=kept)
    x = torch.randn(2, 4, 64, 64, dtype=dtype).contiguous(memory_format=kept)
    given = (x, torch.tensor(500), torch.randn(2, 77, 768, dtype=dtype))
    found = compare(
        partial(one, *given), partial(other, *given), rounds=ROUNDS, clock=time.perf_counter
    )
    print(f"{str(dtype).removeprefix('torch.'):9} {layout:14} {found}", flush=True)
    return statistics.median(found.ours), statistics.median(found.theirs)


def bench_openvino(network: Any, dtype: torch.dtype) -> float:
    """Median seconds of a step of `network`, converted by OpenVINO, with its own best settings."""
    import openvino

    given = (torch.randn(2, 4, 64, 64), torch.tensor(500), torch.randn(2, 77, 768))
    model = openvino.convert_model(network.float(), example_input=given)
    hint = {torch.float32: "f32", torch.bfloat16: "bf16"}[dtype]
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return _median(lambda: compiled([one.numpy() for one in given]))


def _median(call: Callable[[], Any]) -> float:
    call()
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main(threads: int, *, with_openvino: bool) -> None:
    """Print every cell, and the best of each library."""
    torch.set_num_threads(threads)
    settings = dict(ARCHITECTURES["sd15"].unet)
    one, other = pair(UNet2DConditionModel, diffusers.UNet2DConditionModel, settings)
    for dtype in (torch.bfloat16, torch.float32):
        cells = [bench_layout(one, other, dtype, layout) for layout in LAYOUTS]
        ours, theirs = (min(column) for column in zip(*cells, strict=True))
        print(f"{'':9} best of each     ratio {ours / theirs:.3f}", flush=True)
        if with_openvino:
            seconds = bench_openvino(other, dtype)
            print(f"{'':9} OpenVINO {seconds * 1e3:9.2f} ms   ratio {ours / seconds:.3f}")


if __name__ == "__main__":
    with torch.no_grad():
        words = sys.argv[1:]
        numbers = [int(word) for word in words if word.isdecimal()]
        main(numbers[0] if numbers else 2, with_openvino="openvino" in words)
