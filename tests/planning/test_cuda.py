"""On a GPU, predicted peaks are near those of torch's allocator."""

from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb.metering.cuda import CudaMeter
from dpnb.planning.candidates import list_candidates
from dpnb.planning.planner import plan
from dpnb.planning.workload import Workload
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.presets import PRESETS
from dpnb.strategies.strategy import Plan

pytestmark = [pytest.mark.gpu, pytest.mark.full_size]

TOLERANCE = 0.1


def plans(pipe: Any) -> list[Plan]:
    """Each strategy alone that can be switched on, and what of every preset can."""
    alone = [*list_candidates(), ModelOffload(), SequentialOffload()]
    usable = [frozenset({s}) for s in alone if pipe.strategies.obstacle(s) is None]
    return [*usable, *(preset.plan(pipe.strategies).plan for preset in PRESETS)]


@pytest.mark.parametrize(("name", "side"), [("sd15", 512), ("sdxl", 1024)])
def test_peaks_are_near_those_of_the_allocator(name: str, side: int) -> None:
    pipe: Any = dpnb.random_pipeline(name, dtype="float16")
    pipe.to("cuda")
    pipe.set_progress_bar_config(disable=True)
    workload = Workload(height=side, width=side, steps=3)
    table = plan(pipe, workload=workload, device="cuda", plans=plans(pipe))
    found = {}
    for row in table:
        with pipe.strategies.using(*row.plan):
            pipe(**workload.arguments())
            with dpnb.record(pipe, CudaMeter()) as trace:
                pipe(**workload.arguments())
        found[row.name] = row.peak / trace.trace.peak
    print({name: round(ratio, 3) for name, ratio in found.items()})
    off = {name: ratio for name, ratio in found.items() if abs(ratio - 1) > TOLERANCE}
    assert not off
