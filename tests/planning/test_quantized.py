"""Plans for pipelines whose weights are quantized."""

from __future__ import annotations

from typing import Any

import pytest

import dpnb
from dpnb.nn.quantized import nbytes_of
from dpnb.planning.plan_names import plan_name
from dpnb.planning.planner import plan
from dpnb.planning.table import PlanTable
from dpnb.planning.workload import Workload
from tests.planning.test_step_prediction import LINK, errors

WORKLOAD = Workload(height=32, width=32, steps=2)

PLANS: list[Any] = [
    frozenset(),
    frozenset({dpnb.VaeTiling()}),
    frozenset({dpnb.ConditioningCache(), dpnb.SequentialOffload(device=LINK)}),
    frozenset({dpnb.QKVFusion()}),
]


def load(stored: str | None) -> Any:
    chosen = {} if stored is None else {"quantization_config": {"unet": stored}}
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", **chosen)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def narrow() -> Any:
    return load("int8")


@pytest.fixture(scope="module")
def table(narrow: Any) -> PlanTable:
    return plan(narrow, workload=WORKLOAD, device=LINK, plans=PLANS)


@pytest.mark.slow
def test_plans_hold_what_was_predicted(narrow: Any, table: PlanTable) -> None:
    assert table.model == "dpnb/emoji-64 (unet int8)"
    assert {row.plan for row in table} == set(PLANS[:3])
    assert max(errors(narrow, table).values()) == 0


def test_the_bytes_of_weights_are_those_that_are_stored(narrow: Any, table: PlanTable) -> None:
    wide = load(None)
    full = plan(wide, workload=WORKLOAD, device=LINK, plans=PLANS[:1])
    saved = nbytes_of(wide.unet) - nbytes_of(narrow.unet)
    assert saved > 1 << 20
    assert full.of().peaks["text"] - table.of().peaks["text"] == saved


def test_what_needs_full_weights_is_left_out_and_said_so(table: PlanTable) -> None:
    assert "int8" in table.left_out["QKVFusion"]


@pytest.mark.slow
def test_weights_of_bitsandbytes_are_planned_for_where_they_are() -> None:
    table = plan(load("nf4"), workload=WORKLOAD, device=LINK, plans=PLANS[::2])
    assert [row.plan for row in table] == [frozenset()]
    assert "nf4 weights of unet" in table.left_out[plan_name(PLANS[2])]
