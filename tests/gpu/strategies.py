"""Every strategy alone, and the presets: bytes and seconds of a run, beside nothing switched on."""

from __future__ import annotations

from typing import Any

import torch

import dpnb
from dpnb.metering.cuda import CudaMeter
from dpnb.metering.tensors import TensorMeter
from dpnb.planning.weight_sizes import idle_weight_bytes
from dpnb.stages import Stage
from dpnb.strategies.lora import LoRA
from dpnb.strategies.strategy import Plan
from tests.gpu.models import build, draw, empty, workload_of
from tests.gpu.plans import on_device, plans_for
from tests.gpu.rows import Row, Rows
from tests.gpu.setting import Setting, Shape
from tests.strategies.pipes import adapter


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    shape = setting.shapes[setting.options["shape"]]
    pipe = build(shape, setting)
    pipe(**{**workload_of(shape).arguments(), "num_inference_steps": 1})  # libraries are loaded now
    plans = plans_for(setting)
    for number, (name, plan) in enumerate(plans.items()):
        if setting.left < 0:
            names = list(plans)[number:]
            rows.leave_out(f"{shape.title}: {len(names)} plans, from {name} on", "no time left")
            return
        with rows.attempt(shape.title, name, "plan"):
            _measure_plan(pipe, shape, name, plan, setting, rows)
    with rows.attempt(shape.title, "LoRA", "plan"):
        pipe.load_lora_weights(adapter(pipe), "style")
        pipe.disable_lora()
        _measure_plan(pipe, shape, "LoRA", frozenset({LoRA()}), setting, rows)


def _measure_plan(
    pipe: Any, shape: Shape, name: str, plan: Plan, setting: Setting, rows: Rows
) -> None:
    here = [on_device(strategy, setting.link) for strategy in plan]
    reasons = [pipe.strategies.obstacle(strategy) for strategy in here]
    if any(reasons):
        rows.leave_out(f"{shape.title}: {name}", next(filter(None, reasons)))
        return
    try:
        pipe.strategies.use(here)
        draw(pipe, shape)
        rows.add(shape.title, plan=name, **measure_run(pipe, shape, setting))
    finally:
        pipe.strategies.use([])
        empty(setting)


def measure_run(pipe: Any, shape: Shape, setting: Setting) -> Row:
    """Bytes of one run, and seconds of a denoising step in another that is not metered so."""
    empty(setting)
    if not setting.is_dry:
        torch.cuda.reset_peak_memory_stats()
    resting = idle_weight_bytes(pipe.strategies.networks) if setting.is_dry else 0
    with dpnb.record(pipe, TensorMeter() if setting.is_dry else CudaMeter()) as metered:
        draw(pipe, shape)
    found: Row = {"allocated_bytes": metered.peak + resting}
    if not setting.is_dry:
        free, total = torch.cuda.mem_get_info()
        found["reserved_bytes"] = torch.cuda.memory_reserved()  # nothing was given back meanwhile
        found["card_bytes"] = total - free
    with dpnb.record(pipe) as timed:
        draw(pipe, shape)
    found["step_seconds"] = timed.seconds_per_step
    for stage, summary in metered.by_stage().items():
        found[f"{stage}_peak_bytes"] = summary.peak + resting
    for stage, summary in timed.by_stage().items():
        if stage is not Stage.DENOISING:
            found[f"{stage}_seconds"] = summary.seconds
    return found
