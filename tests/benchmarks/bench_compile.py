"""Pictures of the emoji model while its blocks are compiled, and after, in turn with eager ones.

Run with `python -m tests.benchmarks.bench_compile [threads] [whole]`. It ends when all blocks have
gone over, and prints the first picture with `Compile` on, the wait, pictures then, and each block.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

import dpnb
from dpnb.emoji import FOLDER
from dpnb.strategies.compile_queue import shared_queue
from tests.benchmarks.compare import compare


def draw(pipe: Any) -> Any:
    """Twenty steps with guidance, as an array."""
    return pipe(
        "red apple",
        num_inference_steps=20,
        guidance_scale=5.0,
        output_type="np",
        generator=torch.Generator().manual_seed(0),
    ).images


def seconds(call: Callable[[], object]) -> float:
    """What it takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def wait(pipe: Any) -> float:
    """Draws until every block has gone over; the seconds that this takes."""
    start = time.perf_counter()
    while ", " in pipe.strategies.remarks[0]:
        draw(pipe)
        time.sleep(2)
    return time.perf_counter() - start


def compare_blocks(pipe: Any, plan: frozenset[Any]) -> None:
    """Each call of a block with inputs of a run, compiled and as written."""
    calls: dict[str, tuple[Any, Any, Any]] = {}
    pipe.strategies.use([])

    def keep(name: str, block: nn.Module, args: Any, kwargs: Any) -> None:
        calls.setdefault(name, (block, args, kwargs))

    handles = [
        block.register_forward_pre_hook(partial(keep, name), with_kwargs=True)
        for name, block in pipe.unet.named_modules()
        if type(block).__name__ in ("ResnetBlock", "TransformerBlock")
    ]
    draw(pipe)
    for handle in handles:
        handle.remove()
    best: dict[tuple[str, bool], float] = {}
    with torch.no_grad():
        for _ in range(6):
            for is_on in (False, True):
                pipe.strategies.use(plan if is_on else [])
                for name, (block, args, kwargs) in calls.items():
                    for _ in range(8):
                        inputs = [a.clone() if isinstance(a, torch.Tensor) else a for a in args]
                        took = seconds(partial(block, *inputs, **kwargs))
                        best[name, is_on] = min(took, best.get((name, is_on), took))
    for name in calls:
        eager, compiled = best[name, False], best[name, True]
        print(
            f"{name:52} {eager * 1e3:7.3f} ms  {compiled * 1e3:7.3f} ms  {eager / compiled:.2f} ×"
        )


if __name__ == "__main__":
    os.environ["DPNB_CACHE"] = ""  # nothing is there before
    torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
    pipes: list[Any] = [dpnb.StableDiffusionPipeline.from_pretrained(FOLDER) for _ in range(2)]
    for pipe in pipes:
        pipe.set_progress_bar_config(disable=True)
        draw(pipe)
    compiled, eager = pipes
    plain = min(seconds(lambda: draw(eager)) for _ in range(3))
    compiled.strategies.enable(dpnb.Compile(regional="whole" not in sys.argv))
    first = seconds(lambda: draw(compiled))
    print(f"first picture {first:.3f} s, an eager one {plain:.3f} s: {first / plain:.2f} ×")
    took, count = wait(compiled), shared_queue().compiled
    print(f"{compiled.strategies.remarks[0]} {count} pieces of code, {took:.0f} s.", flush=True)
    print("picture:", compare(lambda: draw(compiled), lambda: draw(eager), rounds=8), flush=True)
    if "whole" not in sys.argv:
        compare_blocks(compiled, compiled.strategies.active)
