"""What is predicted is what is measured."""

from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.planning.planner import plan
from dpnb.planning.residency import at_rest
from dpnb.planning.table import PlanTable
from dpnb.planning.workload import Workload

LINK = "simulated:64GiB/s"


def load(name: str, dtype: str) -> Any:
    if "/" in name:
        pipe: Any = dpnb.DiffusionPipeline.from_pretrained(name, dtype=dtype)
    else:
        pipe = dpnb.random_pipeline(name, dtype=dtype)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def measured(pipe: Any, workload: Workload) -> dict[str, int]:
    """The peak of every stage: the run's tensors, and the weights that are on the device."""
    rest = at_rest(pipe.strategies.host)
    with dpnb.record(pipe, TensorMeter()) as trace:
        pipe(**workload.arguments())
    return {name: stage.peak + rest for name, stage in trace.by_stage().items()}


def errors(pipe: Any, table: PlanTable) -> dict[str, float]:
    """By how much the prediction of each plan is off at its worst stage, of what is measured."""
    found = {}
    for row in table:
        with pipe.strategies.using(*row.plan):
            real = measured(pipe, table.workload)
        found[row.name] = max(abs(row.peaks[stage] / real[stage] - 1) for stage in real)
    return found


@pytest.mark.parametrize(
    ("name", "dtype", "workload"),
    [
        ("dpnb/emoji-64", "float32", Workload(steps=3)),
        ("tiny-sd", "float32", Workload(height=32, width=48, steps=4)),
        ("tiny-sd", "bfloat16", Workload(height=64, width=64, steps=2, guidance_scale=1.0)),
        ("tiny-sdxl", "float32", Workload(height=32, width=32, steps=2, batch=2)),
        ("tiny-sdxl", "bfloat16", Workload(height=64, width=32, steps=6)),
    ],
)
def test_every_plan_holds_what_was_predicted(name: str, dtype: str, workload: Workload) -> None:
    pipe = load(name, dtype)
    table = plan(pipe, workload=workload, device=LINK, approximate=True)
    assert len(table) >= 20
    found = errors(pipe, table)
    assert max(found.values()) == 0, {name: error for name, error in found.items() if error}


@pytest.mark.parametrize(
    "scheduler", ["PNDMScheduler", "UniPCMultistepScheduler", "LMSDiscreteScheduler"]
)
def test_what_a_scheduler_remembers_is_predicted(scheduler: str) -> None:
    pipe = load("tiny-sd", "float32")
    pipe.scheduler = getattr(dpnb, scheduler).from_config(pipe.scheduler.config)
    table = plan(pipe, height=32, width=32, steps=9, device=LINK)
    assert max(errors(pipe, table).values()) < 0.01


def test_the_shape_of_stable_diffusion_is_predicted_as_its_parts_are_measured() -> None:
    workload = Workload(height=64, width=64, steps=1)
    pipe = load("sd15", "float32")
    table = plan(pipe, workload=workload, device=LINK)
    assert len(table) >= 20
    real = measured(pipe, table.workload)
    row = next(row for row in table if not row.plan)
    assert dict(row.peaks) == real


def test_planning_leaves_a_pipeline_as_it_is() -> None:
    pipe = load("tiny-sd", "float32")
    pipe.enable_attention_slicing()
    before = {id(p): p.data_ptr() for p in pipe.unet.parameters()}
    plan(pipe, height=32, width=32, steps=2, device=LINK)
    assert {id(p): p.data_ptr() for p in pipe.unet.parameters()} == before
    assert pipe.strategies.active == {dpnb.AttentionSlicing()}
