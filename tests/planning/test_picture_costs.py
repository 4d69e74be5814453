"""What plans are predicted to do to the picture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import dpnb
from dpnb.planning import planner
from dpnb.planning.picture_costs import PictureCosts, list_changes, read_picture_costs
from dpnb.planning.planner import plan
from dpnb.planning.table import PlanError, PlanTable
from dpnb.planning.workload import Workload
from dpnb.strategies.strategy import Plan
from tests.planning.compared import Compared

CASTING, BLENDED, FREEU = dpnb.LayerwiseCasting(), dpnb.VaeTiling(blended=True), dpnb.FreeU()
EXACT = dpnb.QKVFusion()


def plan_of(*strategies: Any) -> Plan:
    return frozenset(strategies)


@pytest.fixture(scope="module")
def table() -> PlanTable:
    plans = [plan_of(), plan_of(CASTING), plan_of(BLENDED), plan_of(CASTING, BLENDED)]
    return plan(
        "tiny-sd", height=32, width=32, steps=2, device="RTX 3060", plans=plans, approximate=True
    )


def test_exact_plans_cost_nothing_without_a_measurement() -> None:
    costs = PictureCosts.of([])
    assert costs.predict(plan_of()) == 0
    assert costs.predict(plan_of(EXACT, dpnb.VaeTiling())) == 0
    assert costs.predict(plan_of(EXACT, CASTING)) is None


def test_exact_strategies_beside_others_change_nothing() -> None:
    costs = PictureCosts.of([(plan_of(CASTING, EXACT), 0.05), (plan_of(CASTING), 0.06)])
    assert costs.predict(plan_of(CASTING, dpnb.VaeSlicing())) == 0.06
    assert list_changes(plan_of(CASTING, EXACT)) == {CASTING}


def test_what_was_measured_with_something_else_says_so(table: PlanTable) -> None:
    same = Compared(table.model, ((plan_of(CASTING), 0.05),))
    assert "was measured with" not in table.limited(0.1, same)._repr_html_()
    few = replace(same, workload=Workload(height=64, width=64, steps=4))
    shown = table.limited(0.1, few)
    assert "was measured with 1 picture of 64 × 64, 4 steps in float16." in shown._repr_html_()
    assert PlanTable.from_json(shown.to_json()) == shown
    other = replace(same, dtype="float32")
    assert "2 steps in float32" in (table.limited(0.1, other).measured_with or "")


def test_a_report_that_does_not_serve_is_refused_before_anything_is_planned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planner, "build_valueless_pipeline", None)
    with pytest.raises(ValueError, match="that sweep is of other, and not of tiny-sd"):
        plan("tiny-sd", measured=Compared("other", ((plan_of(CASTING), 0.05),)))
    wrong: Any = "report.json"
    with pytest.raises(TypeError, match="measured is a str"):
        plan("tiny-sd", measured=wrong)


def test_what_is_not_known_to_keep_the_picture_is_not_tried() -> None:
    arguments: dict[str, Any] = {"height": 32, "width": 32, "steps": 1, "device": "RTX 3060"}
    arguments |= {"plans": [plan_of()], "max_difference": 0.1}
    assert not plan("tiny-sd", **arguments).approximate
    measured = Compared("tiny-sd", ((plan_of(CASTING), 0.05),))
    assert plan("tiny-sd", **arguments, measured=measured).approximate


def test_what_was_measured_together_counts_before_the_sum() -> None:
    alone = [(plan_of(CASTING), 0.05), (plan_of(BLENDED), 0.1)]
    together = plan_of(CASTING, BLENDED)
    assert PictureCosts.of(alone).predict(together) == pytest.approx(0.15)
    assert PictureCosts.of([*alone, (together, 0.11)]).predict(together) == 0.11
    assert PictureCosts.of(alone[:1]).predict(together) is None
    assert (
        PictureCosts.of([(plan_of(CASTING), 0.7), (plan_of(BLENDED), 0.7)]).predict(together) == 1
    )


def test_other_settings_are_another_strategy() -> None:
    costs = PictureCosts.of([(plan_of(FREEU), 0.3)])
    assert costs.predict(plan_of(dpnb.FreeU.sdxl())) is None


def test_a_limit_leaves_only_plans_that_are_known_to_keep_it(table: PlanTable) -> None:
    measured = Compared(table.model, ((plan_of(CASTING), 0.05),))
    limited = table.limited("not visible side by side", measured)
    assert {row.plan for row in limited.fitting} == {plan_of(), plan_of(CASTING)}
    assert limited.of(CASTING).describe_picture() == "0.050 not visible side by side"
    assert limited.of(BLENDED).describe_picture() == "unknown"
    assert {row.plan for row in table.limited(0.04, measured).fitting} == {plan_of()}
    assert len(table.limited(None, measured).fitting) == 4


def test_a_refusal_says_what_the_picture_may_be(table: PlanTable) -> None:
    least = min(row.needed for row in table)
    assert table.of(CASTING).needed < table.of().needed
    limited = replace(table.limited(0, None), budget=least).within(least)
    assert not limited.fitting
    with pytest.raises(PlanError, match=r'and a picture within "the same" \(FLIP 0\); the least'):
        limited.best()
    assert limited.least.is_exact
    with pytest.raises(PlanError, match="Give that much, let plans do more to the picture, or"):
        limited.best()


def test_plans_that_are_hidden_for_their_picture_are_not_called_worse(table: PlanTable) -> None:
    larger = replace(table.of(), plan=plan_of(EXACT), peaks={"decoding": 2 * table.of().peak})
    limited = replace(table, rows=(*table.rows, larger)).limited("the same", None)
    slow = tuple(
        replace(row, seconds=9 * row.seconds) if not row.is_exact else row for row in limited
    )
    shown = replace(limited, rows=slow).within(1 << 40)._repr_html_()
    assert "1 further plan is no better than these in memory or time" in shown
    assert "3 further plans are not known to keep the picture as it may be" in shown


def test_a_table_keeps_its_limit_and_differences_in_json(table: PlanTable) -> None:
    limited = table.limited(0.1, Compared(table.model, ((plan_of(CASTING), 0.05),)))
    assert PlanTable.from_json(limited.to_json()) == limited
    old = limited.to_json()
    del old["max_difference"]
    for row in old["rows"]:
        del row["difference"]
    assert PlanTable.from_json(old).max_difference is None


def test_a_plan_says_what_it_pays_with(table: PlanTable) -> None:
    plain, casting = table.of(), table.of(CASTING)
    assert plain.describe_price(plain) == "nothing"
    slower = replace(casting, seconds=2 * plain.seconds)
    assert slower.describe_price(plain) == "time, picture"
    larger = replace(plain, plan=plan_of(EXACT), peaks={"decoding": 2 * plain.peak})
    assert larger.describe_price(plain) == "memory"
    bounded = replace(slower, is_slowest=True)
    assert bounded.describe_price(plain) == "perhaps time, picture"
    assert bounded.describe_time() == f"at most {casting.describe_time()}"
    shown = dict(zip(table.headings, table.cells(casting), strict=True))
    assert shown["Pays with"] == casting.describe_price(plain)
    assert (shown["FLIP"], shown["Picture"]) == ("", "unknown")
    plainly = dict(zip(table.headings, table.cells(plain), strict=True))
    assert (plainly["FLIP"], plainly["Picture"]) == ("0", "the same")


def test_mistakes_are_one_sentence(table: PlanTable) -> None:
    with pytest.raises(ValueError, match="that sweep is of other, and not of"):
        read_picture_costs(table.model, Compared("other", ((plan_of(CASTING), 0.05),)))
    with pytest.raises(ValueError, match="compares no pictures"):
        read_picture_costs(table.model, Compared(table.model, ()))
    wrong: Any = "report.json"
    with pytest.raises(TypeError, match="measured is a str; give"):
        table.limited(0.1, wrong)
    with pytest.raises(ValueError, match="max_difference is 'much'"):
        table.limited("much", None)
