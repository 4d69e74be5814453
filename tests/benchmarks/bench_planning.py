"""Predicted peaks beside exact ones, for every plan of Stable Diffusion 1.5's shape.

`python -m tests.benchmarks.bench_planning [float32|bfloat16] [side in pixels]`. Weights are random,
and every tensor is counted while a picture of one step is drawn. That needs twice their bytes.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.planning.planner import plan
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.planning.workload import Workload

LINK = "simulated:64GiB/s"


def peaks(pipe: Any, workload: Workload) -> dict[str, int]:
    """The most bytes on the device in every stage, counted."""
    rest = idle_weight_bytes(pipe.strategies.networks)
    with dpnb.record(pipe, TensorMeter()) as trace:
        pipe(**workload.arguments())
    return {name: stage.peak + rest for name, stage in trace.by_stage().items()}


def main(dtype: str, side: int) -> None:
    """Print each plan's ratio of predicted to counted bytes, at its worst stage."""
    workload = Workload(height=side, width=side, steps=1)
    started = time.perf_counter()
    table = plan("sd15", workload=workload, dtype=dtype, device=LINK)
    print(f"{len(table)} plans in {time.perf_counter() - started:.1f} s", flush=True)
    pipe: Any = dpnb.random_pipeline("sd15", dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    worst = 1.0
    for row in table:
        with pipe.strategies.using(*row.plan):
            real = peaks(pipe, workload)
        ratio = max((row.peaks[n] / real[n] for n in real), key=lambda share: abs(share - 1))
        worst = max(worst, ratio, key=lambda share: abs(share - 1))
        print(f"{ratio:.4f}  {row.name}", flush=True)
    print(f"worst of {len(table)}: {worst:.4f}, {dtype}, {side} x {side}")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(given[0] if given else "float32", int(given[1]) if len(given) > 1 else 64)
