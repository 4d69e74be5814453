"""How near streaming comes to its floor, on a link that takes the time of one between CPU memory.

The floor of a step is the greater of what it computes and what its weights take to come over. The
efficiency is the floor over what is measured; 1 means that all of the shorter is hidden behind the
longer. Computing has one thread, the link another. Every row runs resident and streamed in turn.

Run with `python -m tests.benchmarks.bench_streaming`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from dpnb import SequentialOffload, UNet2DConditionModel
from dpnb.pipelines.architectures import ARCHITECTURES, fill
from dpnb.strategies.networks import StreamedNetwork
from dpnb.strategies.stack import StrategyStack, stack_of
from dpnb.strategies.tenure import demand
from dpnb.units import format_bytes

SHARES = (0.5, 0.75, 1.0, 1.5)
"""Time on the link over time to compute."""

STEPS = 4
ROUNDS = 5

NARROW = {"block_out_channels": (64, 128, 256, 256), "cross_attention_dim": 128}
"""Stable Diffusion 1.5's topology at a fifth of its width."""


def network() -> UNet2DConditionModel:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**{**ARCHITECTURES["sd15"].unet, **NARROW})
    fill(unet, torch.float32, torch.Generator().manual_seed(0))
    return unet


def step(stack: StrategyStack, call: Callable[[], Tensor]) -> tuple[float, float]:
    """Seconds and bytes of a step in a run; the first two, which learn the order, do not count."""
    with stack.running():
        for index in range(STEPS + 2):
            if index == 2:
                began, before = time.perf_counter(), _moved(stack)
            stack.before_step(index, STEPS + 3)
            call()
        taken = time.perf_counter() - began
        return taken / STEPS, (_moved(stack) - before) / STEPS


def _moved(stack: StrategyStack) -> int:
    return 0 if stack.host.link is None else stack.host.link.moved


def report(unet: UNet2DConditionModel, call: Callable[[], Tensor], share: float, kept: str) -> None:
    """One row."""
    stack = stack_of(unet, "unet")
    streamed = [StreamedNetwork("unet", unet, lambda _: False)]
    (least, most), total = demand(streamed), sum(w.nbytes for w in streamed[0].weights)
    budget = {"two blocks": least, "a third": least + (most - least) // 3}[kept]
    resident, _ = step(stack, call)
    bandwidth = total / (share * resident)
    plan = SequentialOffload(budget, f"simulated:{int(bandwidth)}/s")
    expected, rows = call(), []
    for _ in range(ROUNDS):
        computing, _ = step(stack, call)
        with stack.using(plan):
            streaming, moved = step(stack, call)
            assert torch.equal(call(), expected)
        rows.append((computing, moved / bandwidth, streaming))
    computing, moving, streaming = (statistics.median(column) for column in zip(*rows, strict=True))
    efficiency = statistics.median(max(c, m) / s for c, m, s in rows)
    print(
        f"{kept:10} on the device {format_bytes(budget):>9} of {format_bytes(most)}   "
        f"computing {computing * 1e3:6.1f} ms   link {moving * 1e3:6.1f} ms   "
        f"streamed {streaming * 1e3:6.1f} ms   efficiency {efficiency:.3f}",
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    unet = network()
    x, context = torch.randn(2, 4, 32, 32), torch.randn(2, 77, 128)
    t = torch.tensor(500)
    with torch.no_grad():
        for kept in ("two blocks", "a third"):
            for share in SHARES:
                report(unet, lambda: unet(x, t, context).sample, share, kept)
