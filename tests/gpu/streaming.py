"""Weights that stream to the device, beside all of them there, the floor, and diffusers."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from dpnb.strategies.offload.backends import open_link
from dpnb.strategies.offload.packing import allocate_host_memory
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.strategy import Strategy
from dpnb.units import format_bytes
from tests.gpu.rows import Row, Rows
from tests.gpu.setting import Setting, Shape, full_precision, missing

LINK = "The link from the host"

STEPS = 8

SHARES = (0.25, 0.5)
"""Of a UNet's bytes, for budgets."""

Way = Callable[[Any], object]
"""Places a pipeline."""


def measure(setting: Setting, rows: Rows) -> None:
    """The part: first both models with dpnb alone, then what diffusers does with their tensors."""
    full_precision()
    rate = 0.0
    with rows.attempt(LINK, "bytes in a second"):
        rate = measure_rate(setting)
        rows.add(LINK, what="from pinned memory, in a second", size_bytes=int(rate))
    for shape in setting.shapes.values():
        if setting.left < 10:
            rows.leave_out(f"{shape.title}: streaming", "no time left")
            continue
        with rows.attempt(title_of(shape), "all ways"):
            _measure_shape(shape, rate, setting, rows)
        setting.empty()


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
        setting.synchronize()
        began = time.perf_counter()
        link.copy(target, source, link.mark(), "probe").wait()
        setting.synchronize()
        rates.append(nbytes / (time.perf_counter() - began))
    link.unpin(source)
    link.close()
    return statistics.median(rates)


def _measure_shape(shape: Shape, rate: float, setting: Setting, rows: Rows) -> None:
    ours = setting.build(shape)
    weights: int = ours.unet.nbytes
    resident = _run(ours, setting)
    rows.add(title_of(shape), library="dpnb", way="all on the device", **resident)
    seconds = float(str(resident["run_seconds"]))
    budgets = [None, *(int(weights * share) for share in SHARES)]
    for strategy in (
        ModelOffload(setting.link),
        *(SequentialOffload(b, setting.link) for b in budgets),
    ):
        if setting.left < 0:
            rows.leave_out(f"{title_of(shape)}: {strategy!r}", "no time left")
            continue
        with rows.attempt(title_of(shape), repr(strategy)):
            rows.add(title_of(shape), **_run_strategy(ours, strategy, seconds, rate, setting))
    del ours
    setting.empty()
    if absent := list(missing("diffusers", "accelerate")):
        rows.leave_out(f"{title_of(shape)}: diffusers' ways", f"{', '.join(absent)}: not installed")
    elif setting.is_dry:
        rows.leave_out(f"{title_of(shape)}: diffusers' ways", "they need a CUDA device")
    else:
        _measure_theirs(shape, setting, rows)


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


def _measure_theirs(shape: Shape, setting: Setting, rows: Rows) -> None:
    from tests.benchmarks.bench_offload import twin

    def way_of(switch: str) -> Way:
        return lambda pipe: getattr(pipe, switch)()

    def group(pipe: Any) -> None:
        pipe.enable_group_offload(
            torch.device("cuda"), offload_type="leaf_level", use_stream=True, record_stream=True
        )

    ways: dict[str, Way] = {
        "all on the device": lambda pipe: pipe.to("cuda"),
        "model offload": way_of("enable_model_cpu_offload"),
        "group offload by leaves, with a stream": group,
        "sequential offload": way_of("enable_sequential_cpu_offload"),
    }
    for name, place in ways.items():
        if setting.left < 5:
            rows.leave_out(f"{title_of(shape)}: diffusers, {name}", "no time left")
            continue
        with rows.attempt(title_of(shape), f"diffusers, {name}"):
            theirs = twin(setting.build(shape), shape.architecture)
            theirs.set_progress_bar_config(disable=True)
            place(theirs)
            rows.add(title_of(shape), library="diffusers", way=name, **_run(theirs, setting))
        theirs = None
        setting.empty()


def _run(pipe: Any, setting: Setting) -> Row:
    """Seconds and bytes of the best of two runs, after one in which orders are learnt."""
    steps = 2 if setting.is_dry else STEPS

    def draw() -> None:
        generator = torch.Generator().manual_seed(0)
        pipe("a cat", num_inference_steps=steps, generator=generator, output_type="pt")
        setting.synchronize()

    draw()
    setting.empty()
    if not setting.is_dry:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        draw()
        seconds.append(time.perf_counter() - began)
    found: Row = {"run_seconds": min(seconds)}
    if not setting.is_dry:
        found["allocated_bytes"] = torch.cuda.max_memory_allocated()
        found["reserved_bytes"] = torch.cuda.max_memory_reserved()
    return found
