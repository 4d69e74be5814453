"""What recording a run costs: a picture of the emoji model with and without, turn by turn.

Run with `python -m tests.benchmarks.bench_recording [rounds]`.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch

import dpnb
from dpnb.emoji import FOLDER
from dpnb.metering.meter import MeterName
from tests.benchmarks.bench_emoji import draw
from tests.benchmarks.compare import compare

METERS: tuple[MeterName, ...] = ("host", "tensors")


def draw_recorded(pipe: Any, meter: MeterName, prompts: list[str]) -> Any:
    """The same picture, and a trace of it."""
    with dpnb.record(pipe, meter) as trace:
        pictures = draw(pipe, prompts)
    assert len(trace.steps) == 22
    return pictures


if __name__ == "__main__":
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    pipe = dpnb.StableDiffusionPipeline.from_pretrained(FOLDER, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    for count in (1, 8):
        prompts = ["red apple"] * count
        for meter in METERS:
            recorded = partial(draw_recorded, pipe, meter, prompts)
            result = compare(recorded, partial(draw, pipe, prompts), rounds=rounds)
            print(f"batch {count}, {meter:8} recorded / plain {result.ratio:.3f}", flush=True)
