from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

import dpnb
from dpnb.planning.out_of_memory import choose_memory_saver
from dpnb.planning.table import PlanTable
from dpnb.strategies.strategy import Strategy

LINK = "simulated:64GiB/s"
WORKLOAD = dpnb.Workload(height=128, width=128, steps=2)
CANDIDATES: tuple[Strategy, ...] = (
    dpnb.VaeTiling(),
    dpnb.ModelOffload(LINK),
    dpnb.SequentialOffload(device=LINK),
)


@pytest.fixture(scope="module")
def loaded() -> Any:
    return dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")


@pytest.fixture
def pipe(loaded: Any) -> Iterator[Any]:
    yield loaded
    loaded.strategies.use([])


@pytest.fixture(scope="module")
def table(loaded: Any) -> PlanTable:
    return dpnb.plan(loaded, workload=WORKLOAD, device=LINK)


def choose(pipe: Any, limit: int, candidates: Sequence[Strategy]) -> Strategy | None:
    return choose_memory_saver(pipe, WORKLOAD, limit, candidates)


def peak(table: PlanTable, *plan: Strategy) -> int:
    return next(row.peak for row in table if row.plan == frozenset(plan))


@pytest.mark.slow
def test_the_first_that_fits_is_found(pipe: Any, table: PlanTable) -> None:
    alone = [peak(table, candidate) for candidate in CANDIDATES]
    assert alone == sorted(alone, reverse=True)
    assert alone[0] < peak(table)
    for candidate, needed in zip(CANDIDATES, alone, strict=True):
        assert choose(pipe, needed, CANDIDATES) == candidate


def test_where_none_fits_it_is_the_one_that_needs_least(pipe: Any) -> None:
    assert choose(pipe, 1000, CANDIDATES[::-1]) == CANDIDATES[-1]
    assert choose(pipe, 1000, ()) is None


@pytest.mark.slow
def test_it_is_tried_beside_what_is_on(pipe: Any, table: PlanTable) -> None:
    pipe.strategies.enable(dpnb.VaeTiling())
    both = peak(table, dpnb.VaeTiling(), CANDIDATES[2])
    assert choose(pipe, both, CANDIDATES[1:]) == CANDIDATES[2]
    assert pipe.strategies.active == {dpnb.VaeTiling()}
