from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import dpnb
from dpnb.pipelines.settings.scheduler_settings import describe_scheduler
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.named_plans import find_best_trade, find_least
from dpnb.planning.table import PlanRow, PlanTable
from dpnb.planning.workload import Workload
from dpnb.strategies.attention import AttentionSlicing, XFormers
from dpnb.strategies.catalog import CATALOG
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.plans import plan_to_python
from dpnb.strategies.projection import QKVFusion
from dpnb.units import format_bytes
from dpnb.widgets.planned_request import PlannedRequest
from dpnb.widgets.run_code import request_to_python
from dpnb.widgets.state import Request
from dpnb.widgets.strategy_panel import StrategyPanel
from tests.planning.test_room_left import take_memory
from tests.widgets.conftest import TIMEOUT, Gate

LINK = "simulated:64GiB/s"

CPU = DeviceProfile("a CPU", 1 << 34, 2e10, 1e11, 1e11, None, 1e-5, False, "made up for tests")


@pytest.fixture
def panel(pipe: Any) -> Iterator[StrategyPanel]:
    panel = StrategyPanel(pipe)
    yield panel
    panel.close()


def test_every_strategy_has_a_named_switch_and_its_sentence(panel: StrategyPanel) -> None:
    assert tuple(panel.rows) == CATALOG
    for kind, row in panel.rows.items():
        assert row.switch.description
        assert row.switch.tooltip == kind.summary()


def test_a_click_reaches_the_pipeline_and_back(panel: StrategyPanel, pipe: Any) -> None:
    switch = panel.rows[QKVFusion].switch
    switch.value = True
    assert pipe.strategies.active == {QKVFusion()}
    assert "QKV fusion" in panel.message.value
    switch.value = False
    assert pipe.strategies.active == frozenset()
    assert "Nothing is switched on" in panel.message.value


def test_a_call_in_another_cell_moves_switch_and_settings(panel: StrategyPanel, pipe: Any) -> None:
    pipe.enable_freeu(0.8, 0.3, 1.2, 1.1)
    row = panel.rows[FreeU]
    assert row.switch.value
    assert row.draft == FreeU(0.8, 0.3, 1.2, 1.1)
    pipe.disable_freeu()
    assert not row.switch.value


def test_two_panels_of_a_pipeline_agree(panel: StrategyPanel, pipe: Any) -> None:
    twin = StrategyPanel(pipe)
    panel.rows[AttentionSlicing].controls["slice_size"].set("max")
    panel.rows[AttentionSlicing].switch.value = True
    assert twin.rows[AttentionSlicing].switch.value
    assert twin.rows[AttentionSlicing].draft == AttentionSlicing("max")
    twin.close()
    panel.rows[AttentionSlicing].switch.value = False
    assert pipe.strategies.active == frozenset()


def test_settings_change_what_is_on_already(panel: StrategyPanel, pipe: Any) -> None:
    row = panel.rows[AttentionSlicing]
    row.switch.value = True
    row.controls["slice_size"].inputs[0].value = "max"
    assert pipe.strategies.active == {AttentionSlicing("max")}


def test_settings_of_what_is_off_wait_for_the_switch(panel: StrategyPanel, pipe: Any) -> None:
    row = panel.rows[AttentionSlicing]
    row.controls["slice_size"].inputs[0].value = "max"
    assert pipe.strategies.active == frozenset()
    row.switch.value = True
    assert pipe.strategies.active == {AttentionSlicing("max")}


def test_what_cannot_work_here_is_grey_and_says_why(panel: StrategyPanel, pipe: Any) -> None:
    for kind in (XFormers, ModelOffload):
        reason = pipe.strategies.obstacle(kind())
        row = panel.rows[kind]
        assert row.switch.disabled
        assert reason.split('"')[0].split("'")[0] in row.note
    usable = [row.switch.disabled for row in panel.rows.values()]
    assert not all(usable)


def test_a_setting_can_make_the_impossible_possible(panel: StrategyPanel, pipe: Any) -> None:
    row = panel.rows[ModelOffload]
    row.controls["device"].inputs[0].value = LINK
    assert not row.switch.disabled
    row.switch.value = True
    assert pipe.strategies.active == {ModelOffload(LINK)}


def test_one_of_a_kind_takes_the_place_of_the_other(panel: StrategyPanel, pipe: Any) -> None:
    for kind in (ModelOffload, SequentialOffload):
        panel.rows[kind].controls["device"].inputs[0].value = LINK
    panel.rows[ModelOffload].switch.value = True
    assert not panel.rows[SequentialOffload].switch.disabled
    panel.rows[SequentialOffload].switch.value = True
    assert pipe.strategies.active == {SequentialOffload(device=LINK)}
    assert not panel.rows[ModelOffload].switch.value


def test_a_refused_switch_springs_back_each_time(panel: StrategyPanel, pipe: Any) -> None:
    row = panel.rows[XFormers]
    for _ in range(2):
        row.switch.value = True
        assert not row.switch.value
        assert "xformers" in panel.message.value
        assert 'role="alert"' in panel.message.value
    assert pipe.strategies.active == frozenset()


def test_what_is_no_setting_is_refused(panel: StrategyPanel, pipe: Any) -> None:
    row = panel.rows[ModelOffload]
    row.controls["device"].inputs[0].value = "nowhere"
    assert row.switch.disabled
    assert "nowhere" in row.note
    row.switch.value = True
    assert not row.switch.value
    assert pipe.strategies.active == frozenset()


def test_a_switch_says_that_it_waits(panel: StrategyPanel, pipe: Any, gate: Gate) -> None:
    job = panel.session.start(Request("a red apple", steps=3))
    gate.open(2)
    gate.reached(3)
    row = panel.rows[AttentionSlicing]
    row.switch.value = True
    assert row.switch.value
    assert "between two steps" in row.note
    assert "Attention slicing: takes effect at step 3 of 3" in panel.message.value
    gate.open(9)
    job.wait(TIMEOUT)
    assert row.switch.value
    assert "between two steps" not in row.note


def test_the_code_sets_what_the_scheduler_is_to_be_set_to(pipe: Any) -> None:
    scheduler, settings = pipe.scheduler, (("beta_schedule", "scaled_linear"),)
    for name in (type(scheduler).__name__, "EulerDiscreteScheduler"):
        request = Request("a", steps=1, scheduler=name, scheduler_settings=settings)
        code = request_to_python(request, pipe.call_signature, scheduler)
        exec(code, {"pipe": pipe})
        assert describe_scheduler(pipe.scheduler) == (name, dict(settings))
        assert "scheduler" not in request_to_python(request, pipe.call_signature, pipe.scheduler)


def test_the_code_switches_on_what_is_on(panel: StrategyPanel, pipe: Any) -> None:
    panel.copy.value = True
    panel.rows[AttentionSlicing].switch.value = True
    assert panel.python.value == panel.code() == plan_to_python([AttentionSlicing()])
    panel.rows[AttentionSlicing].switch.value = False
    exec(panel.code(), {"pipe": pipe})
    assert pipe.strategies.active == frozenset()


def test_named_settings_are_taken_over(panel: StrategyPanel, pipe: Any) -> None:
    row = panel.rows[FreeU]
    assert row.menu is not None
    row.menu.value = FreeU.sdxl()
    assert pipe.strategies.active == frozenset()
    assert row.draft == FreeU.sdxl()
    row.switch.value = True
    row.menu.value = FreeU.sd21()
    assert pipe.strategies.active == {FreeU.sd21()}


def test_a_preset_switches_on_what_it_can_and_says_what_it_left_out(
    panel: StrategyPanel, pipe: Any
) -> None:
    buttons = {button.description: button for button in panel.presets}
    buttons["High resolution"].click()
    assert AttentionSlicing("auto") in pipe.strategies.active
    assert "Model offload left out: There is no accelerator" in panel.message.value
    buttons["Nothing"].click()
    assert pipe.strategies.active == frozenset()
    assert "left out" not in panel.message.value


def test_named_plans_are_chosen_from_what_is_predicted(
    panel: StrategyPanel, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    buttons = {button.description: button for button in panel.presets}
    buttons["Least memory"].click()
    assert "Least memory: " in panel.message.value
    panel.named.planner.wait(TIMEOUT)
    found = panel.named.planner.plan_state.table
    assert found is not None
    assert pipe.strategies.active == find_least(found).plan
    assert format_bytes(find_least(found).peak) in panel.message.value
    buttons["Fastest"].click()
    assert pipe.strategies.active == found.best().plan
    assert "Fastest: " in panel.message.value
    assert panel.named.planner.plan_state.table is found
    buttons["Best trade"].click()
    assert pipe.strategies.active == find_best_trade(found).plan
    with monkeypatch.context() as patch:
        take_memory(1 << 50, patch)
        buttons["Fastest"].click()
    assert "Fastest: Other programs hold 1024 TiB" in panel.message.value
    assert pipe.strategies.active == find_best_trade(found).plan


def test_what_is_asked_for_while_plans_are_made_is_planned_for_next(
    panel: StrategyPanel, gate: Gate
) -> None:
    asked = [Request("a red apple", steps=1, width=33)]
    panel.named.follow(lambda: asked[-1])
    buttons = {button.description: button for button in panel.presets}
    job = panel.session.start(Request("a red apple", steps=1))
    gate.reached()
    buttons["Fastest"].click()
    asked.append(Request("a red apple", steps=1, height=35))
    buttons["Least memory"].click()
    gate.open(100)
    job.wait(TIMEOUT)
    with pytest.raises(ValueError, match="height is 35"):
        panel.named.planner.wait(TIMEOUT)
    assert "Least memory: height is 35" in panel.message.value


def with_plan(panel: StrategyPanel, strategy: Any) -> None:
    """Let plans be known for what is asked for now: this one alone."""
    row = PlanRow(frozenset({strategy}), {"denoising": 1 << 20}, 1.0, 1.0, 1.0, "host", 0)
    state, session = panel.named.planner.plan_state, panel.session
    state.table = PlanTable("tiny-sd", Workload(), CPU, 1 << 30, (row,))
    planned = PlannedRequest.of(session, panel.named._request())
    panel.named._table, panel.named._planned = state.table, planned.fingerprint(session.pipe)


def test_what_was_chosen_is_said_until_something_else_is_switched(
    panel: StrategyPanel, pipe: Any
) -> None:
    with_plan(panel, QKVFusion())
    buttons = {button.description: button for button in panel.presets}
    buttons["Fastest"].click()
    assert pipe.strategies.active == {QKVFusion()}
    assert "Fastest: fused QKV, predicted 1.00 MiB and 1.0 s per picture" in panel.message.value
    panel.rows[AttentionSlicing].switch.value = True
    assert "Fastest" not in panel.message.value
    assert "On: " in panel.message.value


def test_a_named_plan_that_is_refused_is_not_said_to_be_on(
    panel: StrategyPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise MemoryError("no room for that")

    with_plan(panel, QKVFusion())
    monkeypatch.setattr(QKVFusion, "apply", refuse)
    {button.description: button for button in panel.presets}["Fastest"].click()
    assert "no room for that" in panel.message.value
    assert panel.session.strategy_state.is_refused
    assert "Fastest" not in panel._said


def test_a_closed_panel_hears_nothing(pipe: Any) -> None:
    panel = StrategyPanel(pipe)
    panel.close()
    pipe.enable_attention_slicing()
    assert not panel.rows[AttentionSlicing].switch.value


def test_only_the_wanted_strategies_are_shown(pipe: Any) -> None:
    panel = StrategyPanel(pipe, [QKVFusion])
    assert list(panel.rows) == [QKVFusion]
    panel.close()


def test_it_says_which_weights_are_quantized() -> None:
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained(
        "dpnb/emoji-64", quantization_config={"unet": "int8"}
    )
    panel = StrategyPanel(pipe)
    assert "Nothing is switched on. Quantized weights: unet int8." in panel.message.value
    panel.close()
