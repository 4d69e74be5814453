"""Seconds of a step: eager and compiled, in other dtypes, and with steps that reuse others."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch

import dpnb
from dpnb.strategies.compilation import Compile
from dpnb.strategies.precision import Precision
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.storage import ChannelsLast
from dpnb.strategies.strategy import Strategy
from tests.gpu.models import build, draw, full_precision
from tests.gpu.rows import Rows
from tests.gpu.setting import Setting, Shape

STEPS = 20

COMPILE_S = 40.0
"""For dpnb's blocks, in another process."""


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    full_precision()
    shape = replace(setting.shapes["sd15"], steps=4 if setting.is_dry else STEPS)
    table = f"{shape.title}, {shape.steps} steps"
    pipe = build(shape, setting)
    plain = _add(table, f"{shape.dtype} as it is", pipe, shape, (), None, rows)
    for strategy in (ChannelsLast(), StepCache.safe(), StepCache(), StepCache.fast()):
        with rows.attempt(table, repr(strategy)):
            _add(table, repr(strategy), pipe, shape, (strategy,), plain, rows)
    with rows.attempt(table, "Precision"):
        _measure_precision(setting, shape, rows)
    if setting.is_dry:
        rows.leave_out("compiled blocks", "on a CPU they take longer than a dry run")
        return
    with rows.attempt(table, "Compile"):
        _measure_compiled(table, pipe, shape, plain, setting, rows)
    if setting.left < 5:
        rows.leave_out("torch.compile of the whole UNet", "no time left")
        return
    with rows.attempt(table, "torch.compile of the whole UNet"):
        began = time.perf_counter()
        pipe.unet.forward = torch.compile(pipe.unet.forward)
        draw(pipe, shape)
        rows.add(
            table, what="torch.compile: the first picture", run_seconds=time.perf_counter() - began
        )
        _add(table, "torch.compile of the whole UNet", pipe, shape, (), plain, rows)


def _measure_precision(setting: Setting, shape: Shape, rows: Rows) -> None:
    """Float32 with and without TF32, and networks that are float32 and compute in 16 bits."""
    wide = replace(shape, dtype="float32")
    table = f"{wide.title}, {wide.steps} steps"
    pipe = build(wide, setting)
    plain = _add(table, "float32 as it is", pipe, wide, (), None, rows)
    for dtype in ("bfloat16", "float16"):
        _add(table, f'Precision("{dtype}")', pipe, wide, (Precision(dtype),), plain, rows)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    _add(table, "float32 with TF32", pipe, wide, (), plain, rows)
    full_precision()


def _measure_compiled(
    table: str, pipe: Any, shape: Shape, plain: float, setting: Setting, rows: Rows
) -> None:
    """dpnb's blocks, which go over while pictures are drawn."""
    strategy = Compile()
    if (reason := pipe.strategies.obstacle(strategy)) is not None:
        rows.leave_out("Compile", reason)
        return
    began = time.perf_counter()
    with pipe.strategies.using(strategy):
        draw(pipe, shape)
        first = time.perf_counter() - began
        rows.add(table, what="Compile: the first picture", run_seconds=first)
        while ", " in pipe.strategies.remarks[0] and setting.left > 8:
            if time.perf_counter() - began > COMPILE_S:
                break
            draw(pipe, shape)
            time.sleep(0.5)
        waited = time.perf_counter() - began
        rows.add(table, what=f"Compile: {pipe.strategies.remarks[0]}", run_seconds=waited)
        _add(table, "Compile", pipe, shape, (), plain, rows)


def _add(
    table: str,
    what: str,
    pipe: Any,
    shape: Shape,
    plan: tuple[Strategy, ...],
    plain: float | None,
    rows: Rows,
) -> float:
    """A row with the mean seconds of a step, which are returned; `plain` are those of another."""
    with pipe.strategies.using(*plan):
        draw(pipe, shape)
        began = time.perf_counter()
        with dpnb.record(pipe) as trace:
            draw(pipe, shape)
        took = time.perf_counter() - began
    # The mean, as steps that reuse others take less than those others.
    steps = trace.by_stage()["denoising"]
    step = steps.seconds / steps.steps
    rows.add(
        table,
        what=what,
        step_seconds=step,
        run_seconds=took,
        times_as_fast=None if plain is None else plain / step,
    )
    return step
