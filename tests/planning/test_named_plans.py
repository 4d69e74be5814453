"""Plans that have a name, chosen from what is predicted."""

from __future__ import annotations

from dataclasses import replace

import pytest

import dpnb
from dpnb.planning.named_plans import NAMED_PLANS, find_best_trade, find_least
from dpnb.planning.planner import plan
from dpnb.planning.table import PlanError, PlanTable

KINDS = (dpnb.VaeTiling(), dpnb.VaeSlicing(), dpnb.QKVFusion(), dpnb.ConditioningCache())


@pytest.fixture(scope="module")
def table() -> PlanTable:
    return plan("tiny-sd", height=32, width=32, steps=2, device="RTX 3060", plans=[frozenset()])


def with_costs(table: PlanTable, *costs: tuple[int, float]) -> PlanTable:
    """A plan for each pair of bytes and seconds."""
    rows = [
        replace(
            table.rows[0],
            plan=frozenset({kind}),
            peaks={"denoising": peak},
            seconds=seconds,
            difference=0.0,
            memory=None,
        )
        for kind, (peak, seconds) in zip(KINDS, costs, strict=False)
    ]
    return replace(table, rows=tuple(rows)).within(1 << 40)


def test_the_best_trade_is_where_the_curve_bends(table: PlanTable) -> None:
    bent = with_costs(table, (100, 10.0), (120, 2.0), (1000, 1.0))
    assert find_best_trade(bent).peak == 120
    assert find_best_trade(bent.within(110)).peak == 100


def test_where_nothing_bends_the_fastest_is_the_best_trade(table: PlanTable) -> None:
    for costs in (
        [(100, 10.0), (1000, 1.0)],
        [(100, 10.0), (900, 9.0), (1000, 1.0)],
        [(100, 1.0)],
    ):
        found = with_costs(table, *costs)
        assert find_best_trade(found) == found.best()


def test_of_two_the_smaller_one_is_the_best_trade_where_it_saves_more_than_it_costs(
    table: PlanTable,
) -> None:
    assert find_best_trade(with_costs(table, (100, 1.1), (1000, 1.0))).peak == 100
    assert find_best_trade(with_costs(table, (900, 5.0), (1000, 1.0))).peak == 1000


def test_as_little_memory_but_for_a_hundredth_is_the_faster_plan(table: PlanTable) -> None:
    assert find_least(with_costs(table, (1000, 10.0), (1009, 5.0), (1100, 1.0))).peak == 1009
    assert find_least(with_costs(table, (1000, 10.0), (1009, 10.0))).peak == 1000


def test_where_no_picture_is_kept_every_name_says_so(table: PlanTable) -> None:
    rows = with_costs(table, (100, 10.0)).rows
    changing = tuple(
        replace(row, plan=frozenset({dpnb.LayerwiseCasting()}), difference=0.3) for row in rows
    )
    limited = replace(table, rows=changing, max_difference=0.02)
    for named in NAMED_PLANS:
        with pytest.raises(PlanError, match=r'within "the same" \(FLIP 0.02\); let plans do more'):
            named.choose(limited)


def test_each_name_chooses_its_end(table: PlanTable) -> None:
    bent = with_costs(table, (100, 10.0), (120, 2.0), (1000, 1.0), (1100, 5.0))
    chosen = {named.name: named.choose(bent).peak for named in NAMED_PLANS}
    assert chosen == {"Least memory": 100, "Fastest": 1000, "Best trade": 120}
    assert all(named.summary.endswith(".") for named in NAMED_PLANS)


def test_what_the_picture_may_not_lose_is_chosen_by_no_name(table: PlanTable) -> None:
    bent = with_costs(table, (100, 10.0), (120, 2.0), (1000, 1.0))
    changing = tuple(
        replace(row, plan=frozenset({dpnb.LayerwiseCasting()}), difference=0.3)
        if row.peak in (100, 1000)
        else row
        for row in bent
    )
    limited = replace(bent, rows=changing, max_difference=0.07).within(bent.budget)
    assert {named.choose(limited).peak for named in NAMED_PLANS} == {120}


def test_without_plans_every_name_says_so(table: PlanTable) -> None:
    empty = replace(table, rows=())
    for named in NAMED_PLANS:
        with pytest.raises(PlanError, match="no plans in this table"):
            named.choose(empty)
    assert find_least(table) == table.rows[0]
