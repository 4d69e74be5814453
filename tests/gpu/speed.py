"""Seconds of a step: eager and compiled, in other dtypes, and with steps that reuse others."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch

import dpnb
from dpnb.stages import Stage
from dpnb.strategies.compilation import Compile
from dpnb.strategies.precision import Precision
from dpnb.strategies.step_cache import StepCache
from dpnb.strategies.storage import ChannelsLast
from dpnb.strategies.strategy import Strategy
from tests.gpu.models import build, draw, full_precision
from tests.gpu.rows import Rows
from tests.gpu.setting import Setting, Shape

STEPS, DRY_STEPS = 20, 2

LAST_S = 8.0
"""What is left for a measurement, once blocks have had their time to be compiled."""


def measure(setting: Setting, rows: Rows) -> None:
    """The part without compiled code."""
    full_precision()
    shape, table = _shape_of(setting)
    pipe = build(shape, setting)
    plain = _add(table, f"{shape.dtype} as it is", pipe, shape, (), None, rows)
    for strategy in (ChannelsLast(), StepCache.safe(), StepCache(), StepCache.fast()):
        with rows.attempt(table, repr(strategy)):
            _add(table, repr(strategy), pipe, shape, (strategy,), plain, rows)
    with rows.attempt(table, "Precision"):
        _measure_precision(setting, shape, rows)


def measure_blocks(setting: Setting, rows: Rows) -> None:
    """The part of dpnb's compiled blocks, which go over while pictures are drawn."""
    full_precision()
    shape, table = _shape_of(setting)
    pipe = build(shape, setting)
    plain = _add(table, "as it is", pipe, shape, (), None, rows)
    if (reason := pipe.strategies.obstacle(Compile())) is not None:
        rows.leave_out("Compile", reason)
        return
    began = time.perf_counter()
    with pipe.strategies.using(Compile()):
        draw(pipe, shape)
        first = time.perf_counter() - began
        rows.add(table, what="Compile: the first picture", run_seconds=first)
        while ", " in pipe.strategies.remarks[0] and setting.left > LAST_S:
            time.sleep(0.5)
            draw(pipe, shape)
            if setting.is_dry:
                break
        waited = time.perf_counter() - began
        rows.add(table, what=f"Compile: {pipe.strategies.remarks[0]}", run_seconds=waited)
        _add(table, "Compile", pipe, shape, (), plain, rows)


def measure_whole(setting: Setting, rows: Rows) -> None:
    """The part of torch's own compiler around a whole UNet."""
    if setting.is_dry:
        rows.leave_out("torch.compile", "it takes longer than a dry run")
        return
    full_precision()
    shape, table = _shape_of(setting)
    pipe = build(shape, setting)
    plain = _add(table, "as it is", pipe, shape, (), None, rows)
    rows.add(table, what="torch.compile: begun")
    began = time.perf_counter()
    pipe.unet.forward = torch.compile(pipe.unet.forward)
    draw(pipe, shape)
    first = time.perf_counter() - began
    rows.add(table, what="torch.compile: the first picture", run_seconds=first)
    _add(table, "torch.compile", pipe, shape, (), plain, rows)


def _shape_of(setting: Setting) -> tuple[Shape, str]:
    """The smaller model with more steps, and the name of its table."""
    steps = DRY_STEPS if setting.is_dry else STEPS
    shape = replace(setting.shapes["sd15"], steps=steps)
    return shape, f"{shape.title}, {steps} steps"


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
    steps = trace.by_stage()[Stage.DENOISING]
    step = steps.seconds / steps.steps
    rows.add(
        table,
        what=what,
        step_seconds=step,
        run_seconds=took,
        times_as_fast=None if plain is None else plain / step,
    )
    return step
