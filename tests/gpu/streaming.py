"""Weights that stream to the device, beside all of them there, the floor, and diffusers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import torch

from dpnb.strategies.offload.backends import open_link
from dpnb.strategies.offload.packing import allocate_host_memory
from dpnb.strategies.placement import ModelOffload, SequentialOffload, compute_budget_limits
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_bytes
from tests.gpu.models import build, empty, full_precision, synchronize
from tests.gpu.rows import Row, Rows
from tests.gpu.setting import Setting, Shape, missing

LINK = "The link from the host"

STEPS = 8

SHARES = (0.25, 0.5)
"""Of the way from the least budget to that which holds all."""


def measure(setting: Setting, rows: Rows) -> None:
    """The part: both models with dpnb, then with diffusers."""
    full_precision()
    rate = 0.0
    with rows.attempt(LINK, "bytes in a second"):
        rate = measure_rate(setting)
        rows.add(LINK, what="from pinned memory, in a second", amount_bytes=int(rate))
    for shape in setting.shapes.values():
        with rows.attempt(title_of(shape), "dpnb", "way"):
            _measure_ours(shape, rate, setting, rows)
        empty(setting)
    if absent := missing("diffusers", "accelerate"):
        rows.leave_out("diffusers' ways", f"{', '.join(absent)}: not installed")
    elif setting.is_dry:
        rows.leave_out("diffusers' ways", "they need a CUDA device")
    else:
        for name, shape in product(THEIR_WAYS, setting.shapes.values()):
            _measure_theirs(name, shape, setting, rows)


def title_of(shape: Shape) -> str:
    """The table of a shape."""
    return f"{shape.title}, {STEPS} steps"


def measure_rate(setting: Setting) -> float:
    """Bytes in a second from pinned memory to the device."""
    link, nbytes = open_link(setting.link), (4 if setting.is_dry else 512) << 20
    source, target = allocate_host_memory(nbytes), link.allocate(nbytes)
    source.fill_(1)
    link.pin(source)
    rates = []
    for _ in range(3):
        synchronize(setting)
        began = time.perf_counter()
        link.copy(target, source, link.mark(), "probe").wait()
        synchronize(setting)
        rates.append(nbytes / (time.perf_counter() - began))
    link.unpin(source)
    link.close()
    return statistics.median(rates)


def _measure_ours(shape: Shape, rate: float, setting: Setting, rows: Rows) -> None:
    pipe = build(shape, setting)
    resident = _run(pipe, setting)
    rows.add(title_of(shape), library="dpnb", way="all on the device", **resident)
    seconds = float(str(resident["run_seconds"]))
    least, most = compute_budget_limits(pipe.strategies.networks)
    budgets = [int(least + share * (most - least)) for share in SHARES]
    streams = [SequentialOffload(budget, setting.link) for budget in (None, *budgets)]
    for strategy in (*streams, ModelOffload(setting.link)):
        if setting.left < 0:
            rows.leave_out(f"{title_of(shape)}: {strategy!r}", "no time left")
            continue
        with rows.attempt(title_of(shape), repr(strategy), "way"):
            rows.add(title_of(shape), **_run_strategy(pipe, strategy, seconds, rate, setting))


def _run_strategy(
    pipe: Any, strategy: Strategy, resident: float, rate: float, setting: Setting
) -> Row:
    """A way of dpnb's beside its floor: what the run computes, or what its bytes take."""
    with pipe.strategies.using(strategy):
        found = _run(pipe, setting)
    way, floor = type(strategy).__name__, resident
    if isinstance(strategy, SequentialOffload):
        kept = 0 if strategy.budget is None else int(strategy.budget)
        way += f", {format_bytes(kept)} kept" if kept else ", as little as possible"
        floor = max(resident, STEPS * (pipe.unet.nbytes - kept) / rate) if rate else resident
    share = floor / float(str(found["run_seconds"]))
    return {"library": "dpnb", "way": way, **found, "floor_seconds": floor, "of_floor_ratio": share}


def _measure_theirs(name: str, shape: Shape, setting: Setting, rows: Rows) -> None:
    """A way of diffusers', with a pipeline of its own, as not all of them can be switched off."""
    from tests.benchmarks.bench_offload import twin

    if setting.left < 10:
        rows.leave_out(f"{title_of(shape)}: diffusers, {name}", "no time left")
        return
    with rows.attempt(title_of(shape), f"diffusers, {name}", "way"):
        theirs = twin(build(shape, setting), shape.architecture)
        theirs.set_progress_bar_config(disable=True)
        THEIR_WAYS[name](theirs)
        rows.add(title_of(shape), library="diffusers", way=name, **_run(theirs, setting))
    theirs = None
    empty(setting)


def _group(pipe: Any) -> None:
    pipe.enable_group_offload(
        torch.device("cuda"), offload_type="leaf_level", use_stream=True, record_stream=True
    )


THEIR_WAYS: Mapping[str, Callable[[Any], object]] = {
    "all on the device": lambda pipe: pipe.to("cuda"),
    "group offload by leaves, with a stream": _group,
    "model offload": lambda pipe: pipe.enable_model_cpu_offload(),
    "sequential offload": lambda pipe: pipe.enable_sequential_cpu_offload(),
}
"""What places a pipeline of diffusers', the quickest first."""


def _run(pipe: Any, setting: Setting) -> Row:
    """Seconds and bytes of the best of some runs, after one in which orders are learnt."""
    steps, runs = (2, 1) if setting.is_dry else (STEPS, 2)

    def draw() -> None:
        generator = torch.Generator().manual_seed(0)
        pipe("a cat", num_inference_steps=steps, generator=generator, output_type="pt")
        synchronize(setting)

    draw()
    empty(setting)
    if not setting.is_dry:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        draw()
        seconds.append(time.perf_counter() - began)
    found: Row = {"run_seconds": min(seconds)}
    if not setting.is_dry:
        found["allocated_bytes"] = torch.cuda.max_memory_allocated()
        found["reserved_bytes"] = torch.cuda.max_memory_reserved()
    return found
