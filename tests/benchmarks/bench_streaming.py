"""How near streaming comes to its floor, on a link that takes the time of one between CPU memory.

The floor of a step is the greater of what it computes and what its weights take to come over. The
efficiency is the floor over what is measured; 1 means that all of the shorter is hidden behind the
longer. Every row runs resident and streamed in turn.

Blocks of one size that take one time each show what the engine itself costs; there computing is
waiting, so that other programs disturb little. The UNet computes on one thread; its blocks differ
in bytes and time by factors of ten, so that what fits on the device decides.

Run with `python -m tests.benchmarks.bench_streaming [blocks] [unet]`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dpnb import SequentialOffload, UNet2DConditionModel
from dpnb.pipelines.architectures import ARCHITECTURES, fill
from dpnb.strategies.networks import StreamedNetwork
from dpnb.strategies.stack import StrategyStack, stack_of
from dpnb.strategies.tenure import demand
from dpnb.units import format_bytes

SHARES = (0.5, 0.75, 1.0, 1.5)
"""Time on the link over time to compute."""

STEPS = 4
ROUNDS = 3

NARROW = {"block_out_channels": (64, 128, 256, 256), "cross_attention_dim": 128}
"""Stable Diffusion 1.5's topology at a fifth of its width."""


class Timed(nn.Module):
    """A matrix whose computation takes a given time."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(512, 512))
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        """Wait, and multiply one row."""
        time.sleep(self.seconds)
        return x + self.weight[0].sum()


class Blocks(nn.Module):
    """Thirty blocks in a row."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.Sequential(Timed(0.012)) for _ in range(30))

    def forward(self, x: Tensor) -> Tensor:
        """All of them, one after the other."""
        for block in self.blocks:
            x = block(x)
        return x


def narrow_unet() -> UNet2DConditionModel:
    """The UNet with random weights."""
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


def report(network: nn.Module, call: Callable[[], Tensor], share: float, kept: float) -> None:
    """One row; `kept` is how much of what a budget may add to the least it adds."""
    stack = stack_of(network, "unet")
    streamed = [StreamedNetwork("unet", network, lambda _: False)]
    (least, most), total = demand(streamed), sum(w.nbytes for w in streamed[0].weights)
    budget = int(least + (most - least) * kept)
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
        f"on the device {format_bytes(budget):>9} of {format_bytes(most)}   "
        f"computing {computing * 1e3:6.1f} ms   link {moving * 1e3:6.1f} ms   "
        f"streamed {streaming * 1e3:6.1f} ms   efficiency {efficiency:.3f}",
        flush=True,
    )


def bench_blocks() -> None:
    """Thirty blocks of 1 MiB and 12 ms: waking the link's thread takes some 0.3 ms of each."""
    network, x = Blocks(), torch.zeros(1)
    for kept in (0.0, 0.3):
        for share in SHARES:
            report(network, lambda: network(x), share, kept)


def bench_unet() -> None:
    """Real computation on one thread, 32 x 32 latents."""
    torch.set_num_threads(1)
    unet = narrow_unet()
    x, context, t = torch.randn(2, 4, 32, 32), torch.randn(2, 77, 128), torch.tensor(500)
    for kept in (0.0, 0.33, 0.6):
        for share in SHARES:
            report(unet, lambda: unet(x, t, context).sample, share, kept)


if __name__ == "__main__":
    with torch.no_grad():
        for part in sys.argv[1:] or ["blocks", "unet"]:
            {"blocks": bench_blocks, "unet": bench_unet}[part]()
