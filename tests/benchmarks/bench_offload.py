"""Offloading against diffusers' on a CUDA device: seconds of a picture, and the most that it held.

Random weights of Stable Diffusion 1.5 and XL in float16 at their own sizes, the same tensors in
both libraries. Each way of placing takes turns with its counterpart; the floor of a streamed step
is the greater of what it computes and what its bytes take at the bandwidth measured first.

Run with `python -m tests.benchmarks.bench_offload [sd15] [sdxl]`.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import diffusers
import torch

from dpnb import ModelOffload, SequentialOffload, random_pipeline
from dpnb.strategies.offload.backends import open_link
from dpnb.strategies.offload.packing import allocate_host_memory
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_bytes

STEPS = 8
ROUNDS = 5

Placed = Callable[[], Callable[[], None]]
"""Places a pipeline; returns what undoes that."""


@dataclass(frozen=True)
class Cost:
    """Medians of seconds, and the most bytes allocated."""

    seconds: float
    peak: int


def bandwidth() -> float:
    """Bytes in a second from pinned memory to the device."""
    link, nbytes = open_link("cuda"), 512 << 20
    source, target = allocate_host_memory(nbytes), link.allocate(nbytes)
    source.fill_(1)
    link.pin(source)
    rates = []
    for _ in range(5):
        torch.cuda.synchronize()
        began = time.perf_counter()
        link.copy(target, source, link.mark(), "probe").wait()
        torch.cuda.synchronize()
        rates.append(nbytes / (time.perf_counter() - began))
    link.unpin(source)
    link.close()
    return statistics.median(rates)


def draw(pipe: Any) -> torch.Tensor:
    """One picture."""
    generator = torch.Generator().manual_seed(0)
    out: torch.Tensor = pipe(
        "a cat", num_inference_steps=STEPS, generator=generator, output_type="pt"
    ).images
    return out.float().cpu()


def measure(pipe: Any) -> Cost:
    """One run."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    draw(pipe)
    torch.cuda.synchronize()
    return Cost(time.perf_counter() - began, torch.cuda.max_memory_allocated())


def take_turns(ways: list[tuple[Any, Placed]]) -> list[Cost]:
    """A B B A: every way is placed anew for its turn, and runs twice before it counts."""
    costs: list[list[Cost]] = [[] for _ in ways]
    for turn in range(ROUNDS):
        indices = range(len(ways)) if turn % 2 == 0 else range(len(ways) - 1, -1, -1)
        for index in indices:
            pipe, place = ways[index]
            undo = place()
            draw(pipe)
            draw(pipe)
            costs[index].append(measure(pipe))
            undo()
            torch.cuda.empty_cache()
    return [
        Cost(statistics.median(c.seconds for c in one), max(c.peak for c in one)) for one in costs
    ]


def placed(pipe: Any, strategy: Strategy) -> Placed:
    """dpnb's way."""

    def place() -> Callable[[], None]:
        pipe.strategies.enable(strategy)
        return lambda: pipe.strategies.use([])

    return place


def theirs(pipe: Any, switch: Callable[[Any], None]) -> Placed:
    """diffusers' way; its hooks are removed after."""

    def place() -> Callable[[], None]:
        switch(pipe)
        return lambda: pipe.remove_all_hooks()

    return place


def moved(pipe: Any) -> Placed:
    """Resident: `.to` and back."""

    def place() -> Callable[[], None]:
        pipe.to("cuda")
        return lambda: pipe.to("cpu")

    return place


def twin(pipe: Any, architecture: str) -> Any:
    """The pipeline of diffusers with the same tensors."""
    kinds = {"unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL}
    parts = dict(pipe.components)
    for name, kind in kinds.items():
        with torch.device("meta"):
            parts[name] = kind(**getattr(pipe, name).config)
        parts[name].load_state_dict(getattr(pipe, name).state_dict(), assign=True)
        parts[name].eval()
    scheduler = type(pipe.scheduler).__name__
    parts["scheduler"] = getattr(diffusers, scheduler)(**pipe.scheduler.config)
    if architecture == "sd15":
        parts["requires_safety_checker"] = False
        return diffusers.StableDiffusionPipeline(**parts)
    return diffusers.StableDiffusionXLPipeline(**parts)


def sequential(pipe: Any) -> None:
    pipe.enable_sequential_cpu_offload()


def model(pipe: Any) -> None:
    pipe.enable_model_cpu_offload()


def group(pipe: Any) -> None:
    """Leaf by leaf, on a stream: the quickest of diffusers' that holds so little."""
    pipe.enable_group_offload(
        torch.device("cuda"), offload_type="leaf_level", use_stream=True, record_stream=True
    )


def bench(architecture: str, rate: float) -> None:
    """Every way, and ours over theirs."""
    ours: Any = random_pipeline(architecture, dtype=torch.float16)
    other: Any = twin(random_pipeline(architecture, dtype=torch.float16), architecture)
    for pipe in (ours, other):
        pipe.set_progress_bar_config(disable=True)
    grouped = twin(random_pipeline(architecture, dtype=torch.float16), architecture)
    grouped.set_progress_bar_config(disable=True)
    weights = ours.unet.nbytes
    pairs: list[tuple[str, Placed, Any, Placed]] = [
        ("resident", moved(ours), other, moved(other)),
        ("model offload", placed(ours, ModelOffload()), other, theirs(other, model)),
        ("sequential offload", placed(ours, SequentialOffload()), other, theirs(other, sequential)),
        # Last: diffusers cannot switch it off.
        ("… against groups", placed(ours, SequentialOffload()), grouped, theirs(grouped, group)),
    ]
    resident = 0.0
    for name, our_way, peer, their_way in pairs:
        one, two = take_turns([(ours, our_way), (peer, their_way)])
        resident = resident or one.seconds
        print(
            f"{architecture} {name:20} dpnb {one.seconds:6.2f} s {format_bytes(one.peak):>9}   "
            f"diffusers {two.seconds:6.2f} s {format_bytes(two.peak):>9}   "
            f"ratio {one.seconds / two.seconds:.3f} in {one.peak / two.peak:.2f} of the memory",
            flush=True,
        )
    for share in (0.0, 0.25, 0.5):
        budget = int(weights * share) or None
        (cost,) = take_turns([(ours, placed(ours, SequentialOffload(budget)))])
        streamed = weights - (budget or 0)
        floor = max(resident, STEPS * streamed / rate)
        print(
            f"{architecture} budget {format_bytes(budget or 0):>9}   {cost.seconds:6.2f} s "
            f"{format_bytes(cost.peak):>9}   floor {floor:.2f} s   "
            f"efficiency {floor / cost.seconds:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    if not torch.cuda.is_available():
        sys.exit("This needs a GPU: a CUDA device whose memory holds the whole pipeline.")
    measured = bandwidth()
    print(f"{torch.cuda.get_device_name()}, {measured / 1e9:.1f} GB/s from pinned memory")
    for chosen in sys.argv[1:] or ["sd15", "sdxl"]:
        bench(chosen, measured)
