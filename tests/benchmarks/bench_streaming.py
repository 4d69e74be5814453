"""How near streaming comes to its floor, on a link that takes the time of one between CPU memory.

The efficiency is the greater of what a step computes and what its weights take to come over, over
what is measured; 1 means that all of the shorter is hidden behind the longer. Every row runs
resident and streamed in turn.

Blocks of one size that take one time each show what the engine itself costs; there computing is
waiting, so that other programs disturb little. The UNets compute on one thread; their blocks differ
in bytes and time by factors of ten, so that room for what comes ahead decides. For them a row tells
too what is the least that a step can take with the weights that stay and the room that is left,
if weights came in pieces as small as one likes.

Run with `python -m tests.benchmarks.bench_streaming [blocks] [sd15] [sdxl]`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dpnb import SequentialOffload, UNet2DConditionModel
from dpnb.pipelines.shapes.architectures import ARCHITECTURES, fill
from dpnb.strategies.offload.budget import compute_memory_range, divide_memory
from dpnb.strategies.offload.streamed_network import StreamedNetwork
from dpnb.strategies.stack import StrategyStack, stack_of
from dpnb.units import format_bytes

SHARES = (0.5, 0.75, 1.0, 1.5)
"""Time on the link over time to compute."""

STEPS = 4
ROUNDS = 3

NARROW = {
    "sd15": {"block_out_channels": (64, 128, 256, 256), "cross_attention_dim": 128},
    "sdxl": {
        "block_out_channels": (64, 128, 256),
        "cross_attention_dim": 128,
        "attention_head_dim": (2, 4, 8),
        "projection_class_embeddings_input_dim": 6 * 256 + 64,
    },
}
"""Their topologies at a fifth of their width."""

PIECES = 16
"""Of a block, in reckoning the least that a step takes."""

Cost = tuple[int, float]
"""Bytes that come over and seconds that are computed."""


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


def narrow_unet(name: str) -> UNet2DConditionModel:
    """A UNet with random weights."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**{**ARCHITECTURES[name].unet, **NARROW[name]})
    fill(unet, torch.float32, torch.Generator().manual_seed(0))
    return unet


def times(network: StreamedNetwork, call: Callable[[], Tensor]) -> list[tuple[nn.Module, float]]:
    """The blocks in the order in which they are entered, and the seconds until the next one is."""
    entered: list[tuple[nn.Module, float]] = []
    hooks = [
        module.register_forward_pre_hook(
            lambda module, _: entered.append((module, time.perf_counter()))
        )
        for module in network.packs
    ]
    call()
    ended = [began for _, began in entered[1:]] + [time.perf_counter()]
    for hook in hooks:
        hook.remove()
    return [(module, end - began) for (module, began), end in zip(entered, ended, strict=True)]


def least_time(costs: list[Cost], room: int, bandwidth: float) -> float:
    """Seconds of a step when weights come in small pieces, in order, as soon as there is room.

    A piece may come as soon as those behind it that have not been used yet leave room for it.
    """
    pieces = [(b / PIECES, s / PIECES) for b, s in costs for _ in range(PIECES)] * STEPS
    ends, first, held, free, now = [0.0], 0, 0.0, 0.0, 0.0
    for nbytes, seconds in pieces:
        held += nbytes
        while held > room + 1:
            held -= pieces[first][0]
            first += 1
        if nbytes:
            free = max(free, ends[first]) + nbytes / bandwidth
            now = max(now, free)
        now += seconds
        ends.append(now)
    half = len(ends) // 2
    return (ends[-1] - ends[half]) / (STEPS / 2)


def step(stack: StrategyStack, call: Callable[[], Tensor]) -> tuple[float, float]:
    """Seconds and bytes of a step in a run; the first two, which learn the order, do not count."""
    with stack.begin_run():
        for index in range(STEPS + 2):
            if index == 2:
                began, before = time.perf_counter(), _moved(stack)
            stack.before_step(index, STEPS + 3)
            call()
        taken = time.perf_counter() - began
        return taken / STEPS, (_moved(stack) - before) / STEPS


def _moved(stack: StrategyStack) -> int:
    return 0 if stack.networks.link is None else stack.networks.link.moved


def report(network: nn.Module, call: Callable[[], Tensor], slower: float, kept: float) -> None:
    """One row; `kept` is how much of what a budget may add to the least it adds."""
    stack = stack_of(network, "unet")
    streamed = StreamedNetwork("unet", network, lambda _: False)
    (least, most), total = compute_memory_range([streamed]), sum(w.nbytes for w in streamed.weights)
    budget = int(least + (most - least) * kept)
    resident, _ = step(stack, call)
    bandwidth = total / (slower * resident)
    plan = SequentialOffload(budget, f"simulated:{int(bandwidth)}/s")
    expected, rows = call(), []
    for _ in range(ROUNDS):
        computing, _ = step(stack, call)
        floor = _floor(streamed, times(streamed, call), budget, bandwidth)
        with stack.using(plan):
            streaming, moved = step(stack, call)
            assert torch.equal(call(), expected)
        rows.append((computing, moved / bandwidth, floor, streaming))
    computing, moving, floor, streaming = (
        statistics.median(column) for column in zip(*rows, strict=True)
    )
    efficiency = statistics.median(max(c, m) / s for c, m, _, s in rows)
    reached = statistics.median(f / s for _, _, f, s in rows)
    print(
        f"on the device {format_bytes(budget):>9} of {format_bytes(most)}   "
        f"computing {computing * 1e3:6.1f} ms   link {moving * 1e3:6.1f} ms   "
        f"streamed {streaming * 1e3:6.1f} ms   efficiency {efficiency:.3f}   "
        f"least in this room {floor * 1e3:6.1f} ms   least / streamed {reached:.3f}",
        flush=True,
    )


def _floor(
    network: StreamedNetwork,
    timed: list[tuple[nn.Module, float]],
    budget: int,
    bandwidth: float,
) -> float:
    order = [weights for module, _ in timed if (weights := network.packs[module]) is not None]
    residents, passing = divide_memory(order, budget - network.small_tensors.nbytes)
    costs: list[Cost] = []
    for module, seconds in timed:
        weights = network.packs[module]
        comes = weights is not None and weights not in residents
        costs.append((weights.nbytes if weights is not None and comes else 0, seconds))
    return least_time(costs, passing, bandwidth)


def bench_blocks() -> None:
    """Thirty blocks of 1 MiB and 12 ms: waking the link's thread takes some 0.3 ms of each."""
    network, x = Blocks(), torch.zeros(1)
    for kept in (0.0, 0.3):
        for slower in SHARES:
            report(network, lambda: network(x), slower, kept)


def bench_unet(name: str) -> None:
    """Real computation on one thread, 32 x 32 latents."""
    torch.set_num_threads(1)
    unet = narrow_unet(name)
    x, context, t = torch.randn(2, 4, 32, 32), torch.randn(2, 77, 128), torch.tensor(500)
    added = {"text_embeds": torch.randn(2, 64), "time_ids": torch.randn(2, 6)}
    given = {"added_cond_kwargs": added} if name == "sdxl" else {}
    print(f"{name}, a fifth of its width")
    for kept in (0.0, 0.33, 0.6):
        for slower in SHARES:
            report(unet, lambda: unet(x, t, context, **given).sample, slower, kept)


if __name__ == "__main__":
    with torch.no_grad():
        for part in sys.argv[1:] or ["blocks", *NARROW]:
            bench_blocks() if part == "blocks" else bench_unet(part)
