"""A small sweep that shows in seconds what switches cost."""

from __future__ import annotations

from typing import Any

from dpnb.bench.report import Report
from dpnb.bench.sweep import sweep
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.planning.workload import Workload
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.vae import VaeTiling

BUDGET = "16MiB"

LINK = "simulated:8GiB/s"
"""To which weights are offloaded where there is no accelerator."""


def demo_sweep(pipe: Any, steps: int, *, progress: bool = True) -> Report:
    """Measure some plans of a small model, with and without offloading.

    Args:
        pipe: the pipeline.
        steps: denoising steps.
        progress: whether to show a bar.
    """
    link = LINK if to_explorable(pipe).execution_device.type == "cpu" else None
    plans: list[Any] = [
        VaeTiling(),
        ConditioningCache(),
        ModelOffload(link),
        SequentialOffload("12MiB", link),
        SequentialOffload(device=link),
        [SequentialOffload(device=link), VaeTiling()],
    ]
    workload = Workload("red apple", steps=steps, guidance_scale=5.0)
    return sweep(pipe, plans, workload, budget=BUDGET, device=link, repeats=1, progress=progress)
