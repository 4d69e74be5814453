from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ipywidgets
import pytest

from dpnb.planning.table import PlanTable
from dpnb.widgets.budget_dial import BudgetDial, budget_step, default_budget, largest_peak
from dpnb.widgets.planner_panel import PlannerPanel
from tests.widgets.late_browser import LateBrowser, sliders

MEBIBYTE = 1 << 20


def enlarged(table: PlanTable, factor: int) -> PlanTable:
    """The plans of a model that is larger in everything."""
    rows = [
        replace(row, peaks={name: factor * peak for name, peak in row.peaks.items()})
        for row in table
    ]
    return replace(table, rows=tuple(rows))


@pytest.fixture
def tables(table: PlanTable) -> list[PlanTable]:
    """Plans whose peaks are far apart, in no order."""
    return [enlarged(table, factor) for factor in (1, 7, 2, 5000, 3, 9000)]


@pytest.fixture
def chosen() -> list[int]:
    return []


@pytest.fixture
def dial(table: PlanTable, chosen: list[int]) -> Iterator[BudgetDial]:
    yield BudgetDial(table, default_budget(table), chosen.append)
    ipywidgets.Widget.close_all()


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("budget", [None, 3 * MEBIBYTE])
def test_what_a_slow_browser_answers_never_sets_a_budget(
    pipe: Any, tables: list[PlanTable], monkeypatch: Any, budget: int | None, seed: int
) -> None:
    browser = LateBrowser(monkeypatch, seed)
    panel = PlannerPanel(pipe)
    heard: list[str] = []
    panel.planner.plan_state.budget = budget
    panel.message.observe(lambda change: heard.append(change["new"]), "value")
    known: list[Any] = []
    for table in tables:
        panel.planner.plan_state.table = table
        known += [one for one in sliders(panel) if one not in known]
        heard.clear()
        for _ in range(4):
            browser.listen([one for one in known if one.comm is not None])
            browser.answer()
        expected = default_budget(table) if budget is None else budget
        assert panel.table is not None
        assert (panel.planner.plan_state.budget, panel.table.budget) == (budget, expected)
        assert heard == []
    panel.close()


def test_a_browser_of_an_earlier_table_reaches_nobody(pipe: Any, tables: list[PlanTable]) -> None:
    panel = PlannerPanel(pipe)
    panel.planner.plan_state.table = tables[0]
    former = panel.budget
    assert former is not None
    panel.planner.plan_state.table = tables[1]
    assert panel.table is not None
    before = panel.table.budget, panel.message.value
    for value in (0, former.slider.max, former.slider.max // 2, 10**6):
        former.slider.set_state({"value": value})
        former.box.set_state({"value": value})
    assert (panel.table.budget, panel.message.value) == before
    assert panel.planner.plan_state.budget is None
    panel.close()


def test_limits_never_change(pipe: Any, tables: list[PlanTable]) -> None:
    panel = PlannerPanel(pipe)
    panel.planner.plan_state.table = tables[0]
    dial = panel.budget
    assert dial is not None
    parts: tuple[Any, ...] = (dial.box, dial.slider)
    limits = [(part.min, part.max, part.step) for part in parts]
    for budget in (0, 1, 5 * MEBIBYTE, 1 << 45):
        panel.planner.plan_state.budget = budget
        assert panel.budget is dial
        assert [(part.min, part.max, part.step) for part in parts] == limits
    panel.close()


def test_a_person_types_or_slides(dial: BudgetDial, table: PlanTable, chosen: list[int]) -> None:
    dial.box.set_state({"value": 2.5})
    dial.slider.set_state({"value": 0})
    dial.slider.set_state({"value": dial.slider.max})
    step = budget_step(table)
    assert chosen[0] == 2.5 * MEBIBYTE
    assert chosen[1] % step == chosen[2] % step == 0
    assert chosen[1] <= table.least.peak
    assert chosen[2] >= largest_peak(table)


def test_what_is_shown_is_rounded_and_sets_nothing(dial: BudgetDial, chosen: list[int]) -> None:
    for budget in (23 * MEBIBYTE + 1, 23 * MEBIBYTE // 7, 1 << 45, 0):
        dial.show(budget)
        assert dial.box.value == round(budget / MEBIBYTE, 2)
        dial.box.set_state({"value": dial.box.value})
        dial.slider.set_state({"value": dial.slider.value})
    assert chosen == []


def test_large_plans_are_counted_in_gibibytes(table: PlanTable, chosen: list[int]) -> None:
    large = enlarged(table, 5000)
    dial = BudgetDial(large, large.least.peak, chosen.append)
    assert dial.box.description == "Budget (GiB)"
    dial.box.set_state({"value": 1.5})
    assert chosen == [3 << 29]
    ipywidgets.Widget.close_all()


def test_the_usual_budget_is_the_devices_where_that_decides(table: PlanTable) -> None:
    most, least, step = largest_peak(table), table.least.peak, budget_step(table)
    roomy = default_budget(replace(table, budget=1 << 40))
    assert (roomy % step, roomy // step) == (0, -(-most // step))
    for memory in (0, least - 1, (least + most) // 2):
        assert default_budget(replace(table, budget=memory)) == memory


def test_a_budget_that_was_set_stays_for_other_plans(pipe: Any, tables: list[PlanTable]) -> None:
    small, large = tables[0], enlarged(tables[0], 1000)
    panel = PlannerPanel(pipe)
    panel.planner.plan_state.table = small
    assert panel.budget is not None
    panel.budget.box.value = 2.0
    panel.planner.plan_state.table = large
    assert f"0 of {len(large)} plans fit in 2.00 MiB" in panel.message.value
    panel.planner.plan_state.table = small
    assert panel.budget.box.value == 2.0
    panel.close()
