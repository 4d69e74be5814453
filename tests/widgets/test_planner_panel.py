from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ipywidgets as w
import pytest

from dpnb.fidelity.visibility import LIMITS, Visibility
from dpnb.planning.table import PlanTable
from dpnb.planning.workload import Workload
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.storage import LayerwiseCasting
from dpnb.strategies.vae import VaeTiling
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.background_planner import BackgroundPlanner
from dpnb.widgets.history_panel import HistoryPanel
from dpnb.widgets.plan_chart import BOTTOM, HEIGHT, plan_chart
from dpnb.widgets.planner_panel import HERE, LINK, PlannerPanel
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request
from dpnb.widgets.strategy_panel import StrategyPanel
from tests.planning.compared import Compared
from tests.planning.test_room_left import take_memory
from tests.widgets.chosen_files import count_widgets
from tests.widgets.conftest import TIMEOUT, Gate, is_shown

REQUEST = Request("a red apple", steps=2, width=32, height=32)


@pytest.fixture
def panel(pipe: Any) -> Iterator[PlannerPanel]:
    panel = PlannerPanel(pipe, REQUEST)
    yield panel
    panel.close()


@pytest.fixture
def shown(panel: PlannerPanel, table: PlanTable) -> PlannerPanel:
    """The panel with plans, the budget of which is that of the largest."""
    with panel.planner.plan_state.hold_trait_notifications():
        panel.planner.plan_state.budget = max(row.peak for row in table)
        panel.planner.plan_state.table = table
    return panel


def listed(panel: PlannerPanel) -> list[Any]:
    """The rows that are shown, in order."""
    by_widget = {entry.widget: entry for entry in panel.rows}
    return [by_widget[widget] for widget in panel.list.children]


def test_nothing_is_planned_before_it_is_asked_for(panel: PlannerPanel) -> None:
    assert panel.table is None
    assert is_shown(panel.empty)
    assert not is_shown(panel.dial)
    with pytest.raises(ValueError, match="No plans have been asked for"):
        panel.planner.wait()


@pytest.mark.slow
def test_a_click_makes_plans_in_the_background(panel: PlannerPanel, table: PlanTable) -> None:
    panel.ask.click()
    assert panel.ask.disabled
    found = panel.planner.wait(TIMEOUT)
    assert not panel.ask.disabled
    assert {row.plan for row in found} == {row.plan for row in table}
    assert found.workload == table.workload
    assert "plans fit in" in panel.message.value
    assert "<svg" in panel.chart.value
    assert is_shown(panel.dial)
    assert not is_shown(panel.empty)
    assert len(panel.rows) == len(found)


def test_the_budget_says_what_fits(shown: PlannerPanel, table: PlanTable) -> None:
    assert "fastest that fits" in listed(shown)[0].words
    assert all("too large" not in entry.words for entry in shown.rows)
    small = table.within(table.least.peak + 1024)
    assert shown.budget is not None
    shown.budget.box.value = small.budget / (1 << 20)
    assert shown.planner.plan_state.budget == small.budget
    assert shown.budget.box.value == round(small.budget / (1 << 20), 2)
    assert listed(shown)[0].plan == small.best().plan
    words = [entry.words for entry in listed(shown)]
    assert sum("fastest that fits" in text for text in words) == 1
    assert any("too large" in text for text in words)
    assert f"{len(small.fitting)} of {len(table)} plans fit" in shown.message.value


def compared(model: str) -> Compared:
    return Compared(model, ((frozenset({LayerwiseCasting()}), 0.05),), dtype=None)


def with_casting(table: PlanTable) -> PlanTable:
    """Plans that change the picture, too."""
    less = {name: peak // 2 for name, peak in table.rows[0].peaks.items()}
    row = replace(table.rows[0], plan=frozenset({LayerwiseCasting()}), peaks=less)
    return replace(table, rows=(*table.rows, row), approximate=True)


def test_what_the_picture_may_lose_says_what_fits(shown: PlannerPanel, table: PlanTable) -> None:
    shown.planner.plan_state.table = with_casting(table)
    shown.more.value = True
    casting = next(entry for entry in shown.rows if entry.plan == {LayerwiseCasting()})
    assert "picture unknown" in casting.words
    assert "beside 1 that may change the picture too much" in shown.message.value
    shown.use_report(compared(table.model))
    assert "changes the picture" in casting.words
    assert "picture: 0.050 not visible side by side" in casting.words
    shown.picture.value = LIMITS[Visibility.HIDDEN]
    assert "changes the picture" not in casting.words
    assert "pays with" in casting.words
    with pytest.raises(ValueError, match="is of other"):
        shown.use_report(compared("other"))


def test_plans_that_change_the_picture_are_made_when_they_are_asked_for(
    shown: PlannerPanel,
) -> None:
    assert "These plans are for" not in shown.message.value
    shown.picture.value = LIMITS[Visibility.FLIPPED]
    assert "These plans are for" in shown.message.value


def test_the_history_says_what_plans_do_to_the_picture(
    shown: PlannerPanel, table: PlanTable
) -> None:
    pytest.importorskip("flip_evaluator")
    history = HistoryPanel(shown.session.pipe)
    for plan in ((), (LayerwiseCasting(),)):
        shown.session.use(frozenset(plan))
        shown.session.start(REQUEST).wait(TIMEOUT)
    history._consider()
    history.judge.wait(TIMEOUT)
    shown.session.use(frozenset())
    shown.planner.plan_state.table = with_casting(table)
    assert shown.table is not None
    [verdict] = shown.session.run_state.verdicts.values()
    assert shown.table.of(LayerwiseCasting()).difference == verdict.size
    history.close()


def test_first_those_that_none_beats_then_all(shown: PlannerPanel, table: PlanTable) -> None:
    front: set[Any] = {row.plan for row in table.front} | {frozenset()}
    assert {entry.plan for entry in listed(shown)} == front
    shown.more.value = True
    assert [entry.plan for entry in listed(shown)] == [row.plan for row in shown.table or ()]


def test_a_click_switches_a_plan_on_and_all_panels_follow(shown: PlannerPanel, pipe: Any) -> None:
    switches = StrategyPanel(pipe)
    shown.more.value = True
    chosen = next(e for e in shown.rows if len(e.plan) > 1 and VaeTiling() in e.plan)
    chosen.use.click()
    assert pipe.strategies.active == chosen.plan
    assert switches.rows[VaeTiling].switch.value
    assert (chosen.use.description, chosen.use.disabled) == ("In use", True)
    switches.rows[VaeTiling].switch.value = False
    assert (chosen.use.description, chosen.use.disabled) == ("Use", False)
    switches.close()


def test_a_plan_for_which_others_left_no_room_is_not_used(
    shown: PlannerPanel, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = next(e for e in shown.rows if e.plan == {VaeTiling()})
    with monkeypatch.context() as patch:
        take_memory(1 << 50, patch)
        chosen.use.click()
        assert not pipe.strategies.active
        assert "Other programs hold 1024 TiB" in shown.message.value
        assert chosen.use.description == "Use"
    chosen.use.click()
    assert pipe.strategies.active == {VaeTiling()}


def test_a_plan_that_was_set_during_a_run_lands_between_two_steps(
    shown: PlannerPanel, pipe: Any, gate: Gate
) -> None:
    job = shown.session.start(replace(REQUEST, steps=3))
    gate.reached()
    gate.open()
    gate.reached()
    chosen = next(e for e in shown.rows if e.plan == {VaeTiling()})
    chosen.use.click()
    assert "VAE tiling: takes effect" in shown.message.value
    gate.open(1000)
    job.wait(TIMEOUT)
    assert pipe.strategies.active == {VaeTiling()}
    assert "plans fit in" in shown.message.value


@pytest.mark.slow
def test_planning_waits_for_the_end_of_a_run(panel: PlannerPanel, gate: Gate) -> None:
    panel.device.value = None
    job = panel.session.start(replace(REQUEST, steps=3))
    gate.reached(1)
    planning = panel.plan()
    assert "Waiting for the run to end" in panel.message.value
    with pytest.raises(TimeoutError):
        planning.wait(0.2)
    gate.open(1000)
    job.wait(TIMEOUT)
    assert planning.wait(TIMEOUT).rows


def test_a_mistake_is_shown_and_the_former_plans_stay(
    shown: PlannerPanel, table: PlanTable
) -> None:
    shown.width.value = 33
    shown.plan()
    with pytest.raises(ValueError, match="width is 33"):
        shown.planner.wait(TIMEOUT)
    assert 'role="alert"' in shown.message.value
    assert "width is 33" in shown.message.value
    assert shown.planner.plan_state.table is table


def test_plans_for_another_card_say_why_they_cannot_be_set_here(
    panel: PlannerPanel, table: PlanTable
) -> None:
    offloaded = replace(table.rows[0], plan=frozenset({ModelOffload("cuda")}))
    resident = next(row for row in table if not row.plan)
    panel.planner.plan_state.table = replace(table, rows=(offloaded, resident))
    by_plan = {entry.plan: entry for entry in panel.rows}
    entry = by_plan[offloaded.plan]
    assert entry.use.disabled
    assert entry.use.tooltip == panel.session.obstacle(ModelOffload("cuda"))
    assert by_plan[frozenset()].use.description == "In use"


def test_what_was_measured_is_beside_what_was_predicted(shown: PlannerPanel) -> None:
    assert "took" not in listed(shown)[0].words + shown.caption.value
    shown.session.start(REQUEST).wait(TIMEOUT)
    entry = next(entry for entry in shown.rows if not entry.plan)
    [run] = shown.session.run_state.history
    predicted = next(row.peak for row in shown.table or () if not row.plan)
    words = f"predicted {format_bytes(predicted)}, took {format_bytes(run.trace.peak)}"
    assert words in entry.words
    assert f"Run 1, nothing switched on: {words}" in shown.caption.value


def test_the_most_that_a_plan_may_take_is_not_said_to_be_what_it_takes(
    shown: PlannerPanel, table: PlanTable
) -> None:
    rows = tuple(replace(row, is_slowest=True) for row in table)
    shown.planner.plan_state.table = slowest = replace(table, rows=rows)
    words = f"at most {format_seconds(slowest.best().seconds_per_picture)}"
    assert f"<b>{words}</b> per picture" in listed(shown)[0].words
    assert f"{words} per picture" in shown.message.value
    assert f"{words} per picture" in plan_chart(slowest, frozenset())
    shown.session.start(REQUEST).wait(TIMEOUT)
    assert f"predicted {words[:8]}" in shown.caption.value


def test_plans_for_what_is_guided_are_no_plans_for_what_is_not(
    shown: PlannerPanel, table: PlanTable
) -> None:
    assert (table.workload.guidance_scale or 0) > 1
    shown._asked = replace(shown._asked, guidance_scale=1.0)
    shown.show()
    assert "These plans are for 32 × 32, 2 steps, guidance 7.5" in shown.message.value
    assert shown.workload.guidance_scale == 1.0


def test_who_hears_that_plans_are_made_holds_nobody_up(session: Session) -> None:
    free: list[bool] = []

    def try_lock() -> None:
        free.append(session.lock.acquire(timeout=0.5))
        if free[-1]:
            session.lock.release()

    def hear() -> None:
        other = threading.Thread(target=try_lock)
        other.start()
        other.join()

    planner = BackgroundPlanner(session, hear)
    assert planner.start(Workload(width=33), None)
    with pytest.raises(ValueError, match="width is 33"):
        planner.wait(TIMEOUT)
    assert free == [True]


def test_plans_for_another_size_say_so(shown: PlannerPanel) -> None:
    assert "These plans are for" not in shown.message.value
    shown.width.value = 64
    assert "These plans are for 32 × 32, 2 steps" in shown.message.value
    assert "Press What fits?" in shown.message.value
    assert "dpnb-stale" in shown.list._dom_classes
    shown.width.value = 32
    assert "These plans are for" not in shown.message.value
    assert "dpnb-stale" not in shown.list._dom_classes


def test_offloading_over_a_simulated_link_is_offered_without_an_accelerator(
    panel: PlannerPanel,
) -> None:
    assert panel.device.options[0] == (HERE, None)
    assert panel.device.value == LINK


def test_every_control_has_a_name(shown: PlannerPanel) -> None:
    def inside(widget: Any) -> Iterator[Any]:
        yield widget
        for child in getattr(widget, "children", ()):
            yield from inside(child)

    kinds = (w.Button, w.ToggleButton, w.Dropdown, w.BoundedIntText, w.BoundedFloatText)
    controls = [widget for widget in inside(shown) if isinstance(widget, kinds)]
    assert len(controls) > 8
    assert all(widget.description.strip() for widget in controls)
    for entry in shown.rows:
        assert 'role="img" aria-label="Peak by stage: text ' in entry.words
    assert 'aria-label="Predicted: ' in shown.chart.value


@pytest.mark.slow
def test_closing_leaves_nothing_behind(pipe: Any, table: PlanTable) -> None:
    before = count_widgets()
    panel = PlannerPanel(pipe, REQUEST)
    panel.planner.plan_state.table = table
    panel.plan()
    panel.close()
    panel.planner.wait(TIMEOUT)
    assert count_widgets() == before
    assert pipe.strategies.active == frozenset()


def test_streaming_is_among_the_plans(shown: PlannerPanel) -> None:
    assert any(type(s) is SequentialOffload for entry in shown.rows for s in entry.plan)


def test_plans_on_one_spot_are_one_point_with_their_number(table: PlanTable) -> None:
    chart = plan_chart(table, frozenset())
    titles = re.findall(r"<title>([^<]*)</title>", chart)[1:]
    assert sum(len(title.splitlines()) for title in titles) == len(table)
    spots = [title for title in titles if len(title.splitlines()) > 1]
    numbers = [int(n) for n in re.findall(r">(\d+) plans<", chart)]
    assert sorted(numbers) == sorted(len(title.splitlines()) for title in spots)
    points = [
        tuple(map(float, p)) for p in re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="[47]', chart)
    ]
    assert len(points) == len(titles)
    assert spots
    assert 'r="11"' in chart


def test_the_numbers_of_plans_do_not_cover_one_another(table: PlanTable) -> None:
    row, rows = table.rows[0], []
    for number in range(8):
        near = replace(row, peaks={name: peak + 400 * number for name, peak in row.peaks.items()})
        rows += [replace(near, plan=frozenset({VaeTiling(16 + 8 * k)})) for k in range(2)]
    wide = replace(row, peaks={name: 20000 + peak for name, peak in row.peaks.items()})
    chart = plan_chart(replace(table, rows=(*rows, wide), budget=1 << 40), frozenset())
    words = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"[^>]*>\d+ plans', chart)
    places = [(float(across), float(up)) for across, up in words]
    assert len(places) >= 3
    for number, (across, up) in enumerate(places):
        for other, at in places[number + 1 :]:
            assert abs(across - other) >= 45 or abs(up - at) >= 12


def test_the_numbers_of_plans_stay_in_the_chart(table: PlanTable) -> None:
    row = max(table.rows, key=lambda row: row.seconds)
    crowd = []
    for number in range(12):
        peaks = {name: peak + 900 * number for name, peak in row.peaks.items()}
        crowd += [
            replace(row, plan=frozenset({VaeTiling(size)}), peaks=peaks)
            for size in (16 + 16 * number, 24 + 16 * number)
        ]
    wide = replace(row, peaks={name: 60000 + peak for name, peak in row.peaks.items()})
    chart = plan_chart(replace(table, rows=(*crowd, wide), budget=1 << 40), frozenset())
    heights = [float(up) for up in re.findall(r'y="(-?[\d.]+)"[^>]*>\d+ plans', chart)]
    assert len(heights) >= 3
    assert all(10 < up < HEIGHT - BOTTOM for up in heights)
