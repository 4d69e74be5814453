"""Plans for pipelines whose weights are quantized."""

from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb.nn.quantized import nbytes_of
from dpnb.planning.planner import plan
from dpnb.planning.table import PlanTable, plan_name
from dpnb.planning.workload import Workload
from tests.planning.test_prediction import LINK, errors

WORKLOAD = Workload(height=32, width=32, steps=2)

PLANS: list[Any] = [
    frozenset(),
    frozenset({dpnb.VaeTiling()}),
    frozenset({dpnb.ConditioningCache(), dpnb.SequentialOffload(device=LINK)}),
]


def load(stored: str | None) -> Any:
    chosen = {} if stored is None else {"quantization_config": {"unet": stored}}
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", **chosen)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def missing(table: PlanTable) -> set[Any]:
    """The plans among `PLANS` of which the table says why they are left out."""
    return {wanted for wanted in PLANS if plan_name(wanted) in table.left_out}


@pytest.mark.parametrize(("stored", "tolerance"), [("int8", 0.0), ("nf4", 0.05)])
def test_plans_hold_what_was_predicted(stored: str, tolerance: float) -> None:
    pipe = load(stored)
    table = plan(pipe, workload=WORKLOAD, device=LINK, plans=PLANS)
    assert table.model == f"dpnb/emoji-64 (unet {stored})"
    assert {row.plan for row in table} | missing(table) == set(PLANS)
    assert all(f"{stored} weights of unet" in reason for reason in table.left_out.values())
    assert max(errors(pipe, table).values()) <= tolerance


def test_the_bytes_of_weights_are_those_that_are_stored() -> None:
    wide, narrow = load(None), load("int8")
    full, small = (
        plan(p, workload=WORKLOAD, device="cpu", plans=PLANS[:1]) for p in (wide, narrow)
    )
    saved = nbytes_of(wide.unet) - nbytes_of(narrow.unet)
    assert saved > 1 << 20
    assert full.of().peaks["text"] - small.of().peaks["text"] == saved


def test_what_needs_full_weights_is_left_out_and_said_so() -> None:
    fused = frozenset({dpnb.QKVFusion()})
    table = plan(load("int8"), workload=WORKLOAD, device="cpu", plans=[*PLANS[:1], fused])
    assert "int8" in table.left_out["QKVFusion"]
