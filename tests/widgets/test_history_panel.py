from __future__ import annotations

import base64
import csv
import html
import io
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import dpnb
from dpnb.strategies.attention import AttentionSlicing
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.projection import QKVFusion
from dpnb.widgets import run_monitor
from dpnb.widgets.history_panel import HistoryPanel
from dpnb.widgets.history_row import _picture
from dpnb.widgets.run_comparison import PHRASES, compare_runs
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT, Gate, is_shown
from tests.widgets.histories import REQUEST, drawn


@pytest.fixture
def panel(pipe: Any) -> Iterator[HistoryPanel]:
    panel = HistoryPanel(pipe)
    yield panel
    panel.close()


def test_an_exact_switch_keeps_the_picture_and_says_what_it_saved(panel: HistoryPanel) -> None:
    plain, sliced = drawn(panel), drawn(panel, QKVFusion())
    found = compare_runs(sliced, plain)
    assert found.must_match
    assert found.is_same
    assert found.badge == "✓ exact"
    assert found.peak == sliced.trace.peak - plain.trace.peak
    assert "picture" in str(found)
    assert "peak" in str(found)


def test_the_same_run_twice_is_identical_in_picture_and_peak(panel: HistoryPanel) -> None:
    drawn(panel)
    one, other = drawn(panel), drawn(panel)
    found = compare_runs(other, one)
    assert (found.peak, found.largest) == (0, 0)
    assert "+0 B peak" in str(found)
    assert "picture identical" in str(found)


def test_a_stylistic_switch_draws_another_picture_without_breaking_a_promise(
    panel: HistoryPanel,
) -> None:
    found = compare_runs(drawn(panel, FreeU()), drawn(panel))
    assert not found.must_match
    assert not found.is_same
    assert found.badge == ""
    assert "another picture" in str(found)


def test_pictures_of_different_requests_are_not_compared(panel: HistoryPanel) -> None:
    found = compare_runs(drawn(panel, request=Request("a cat", steps=2)), drawn(panel))
    assert found.largest is None
    assert found.peak is not None
    assert str(found).endswith("asked for another prompt")


def test_other_work_is_not_compared_in_time_and_memory(panel: HistoryPanel) -> None:
    longer = Request("a red apple", steps=3, scheduler="EulerDiscreteScheduler")
    plain = replace(REQUEST, scheduler="DDIMScheduler")
    found = compare_runs(drawn(panel, request=longer), drawn(panel, request=plain))
    assert (found.peak, found.seconds, found.largest) == (None, None, None)
    assert str(found) == "asked for steps 3 instead of 2, Euler instead of DDIM"


def test_a_run_of_a_cell_is_not_compared(panel: HistoryPanel, pipe: Any) -> None:
    drawn(panel)
    pipe("a red apple", num_inference_steps=2)
    assert "not compared: a cell has asked for one of them" in panel.rows[2].words
    assert "begun from a cell" in panel.rows[2].words


def test_peaks_of_a_process_are_not_compared(panel: HistoryPanel) -> None:
    panel.session.measure_with("host")
    assert compare_runs(drawn(panel), drawn(panel)).peak is None
    assert "measure weights and what runs make" in panel.hint.value


def test_every_run_is_a_row_and_new_ones_come_behind_those_that_stay(panel: HistoryPanel) -> None:
    assert is_shown(panel.empty)
    drawn(panel), drawn(panel, AttentionSlicing())
    assert not is_shown(panel.empty)
    assert [row.run.number for row in panel.rows.values()] == [1, 2]
    assert list(panel.list.children) == [panel.rows[1].widget, panel.rows[2].widget]
    assert 'data-run="2"' in panel.rows[2].words, "by which a page puts them in order"
    assert "the baseline" in panel.rows[1].words
    assert "Attention slicing" in panel.rows[2].words
    assert "✓ exact" in panel.rows[2].words


def test_another_run_can_be_the_baseline(panel: HistoryPanel) -> None:
    drawn(panel), drawn(panel)
    panel.rows[2].choose.click()
    assert "the baseline" in panel.rows[2].words
    assert "the baseline" not in panel.rows[1].words
    assert panel.rows[2].choose.disabled
    assert not panel.rows[1].choose.disabled


def test_a_rows_plan_can_be_restored(panel: HistoryPanel, pipe: Any) -> None:
    drawn(panel, QKVFusion(), AttentionSlicing("max"))
    drawn(panel)
    panel.rows[1].restore.click()
    assert pipe.strategies.active == {QKVFusion(), AttentionSlicing("max")}


def test_ticked_rows_are_drawn_side_by_side(panel: HistoryPanel) -> None:
    drawn(panel), drawn(panel, QKVFusion())
    assert panel.chart.value == ""
    panel.rows[1].select.value = panel.rows[2].select.value = True
    assert "1: nothing switched on" in panel.chart.value
    assert "2: QKV fusion" in panel.chart.value
    assert [run.number for run in panel.selection] == [1, 2]


def test_a_stopped_run_is_a_row_without_a_picture(panel: HistoryPanel, gate: Gate) -> None:
    job = panel.session.start(REQUEST)
    gate.open(2)
    gate.reached(2)
    panel.session.stop()
    gate.open(2)
    with pytest.raises(RuntimeError):
        job.wait(TIMEOUT)
    assert "stopped" in panel.rows[1].words
    assert panel.baseline is None
    gate.open(9)
    panel.session.start(REQUEST).wait(TIMEOUT)
    assert panel.baseline is panel.rows[2].run


def test_a_row_says_all_that_was_asked_for(panel: HistoryPanel) -> None:
    drawn(panel, request=Request("a cat", "blurry", steps=2, seed=7, count=2, guidance_scale=4.5))
    words = panel.rows[1].words
    for part in ("a cat", "not: blurry", "seed 7", "2 steps", "2 pictures", "DDIM", "guidance 4.5"):
        assert part in words
    size: Any = panel.session.pipe.default_size()
    assert f"{size[1]} × {size[0]}" in words


def test_a_switch_in_the_middle_is_not_said_to_have_been_on_throughout(
    panel: HistoryPanel, gate: Gate
) -> None:
    job = panel.session.start(Request("a red apple", steps=4))
    gate.open(3)
    gate.reached(4)
    panel.session.enable(FreeU())
    gate.open(100)
    job.wait(TIMEOUT)
    assert "<b>FreeU on at step 4</b>" in panel.rows[1].words


def test_runs_that_were_stopped_are_no_baseline(panel: HistoryPanel, gate: Gate) -> None:
    job = panel.session.start(REQUEST)
    gate.open(2)
    gate.reached(3)
    panel.session.stop()
    gate.open(100)
    with pytest.raises(RuntimeError):
        job.wait(TIMEOUT)
    assert panel.rows[1].choose.disabled
    drawn(panel)
    assert panel.baseline is panel.rows[2].run
    assert panel.session.run_state.baseline == 2


def test_the_baseline_stays_when_old_runs_are_forgotten(
    panel: HistoryPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_monitor, "KEPT", 3)
    for _ in range(5):
        drawn(panel)
    assert list(panel.rows) == [1, 4, 5]
    assert panel.baseline is panel.rows[1].run


def test_a_row_of_a_forgotten_run_is_that_of_the_next(
    panel: HistoryPanel, pipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_monitor, "KEPT", 3)
    for _ in range(3):
        drawn(panel)
    panel.rows[2].select.value = True
    before = list(panel.list.children)
    drawn(panel, FreeU())
    assert list(panel.list.children) == before
    row = panel.rows[4]
    assert row.widget is before[1]
    assert (row.run.number, row.select.value, row.select.description) == (4, False, "Run 4")
    assert "run 4" in str(row.restore.tooltip)
    assert "run 4" in str(row.choose.tooltip)
    assert "FreeU" in row.words
    assert row._picture.value == _picture(row.run)
    row.restore.click()
    assert pipe.strategies.active == {FreeU()}


def test_runs_are_named_and_deleted(panel: HistoryPanel) -> None:
    drawn(panel), drawn(panel), drawn(panel)
    assert not is_shown(panel.tools)
    panel.rows[2].select.value = True
    assert is_shown(panel.tools)
    panel.name.value = "the good one"
    assert panel.rows[2].select.description == "the good one"
    assert panel.session.run_state.history[1].name == "the good one"
    panel.rows[1].select.value = True
    assert not is_shown(panel.name)
    gone = panel.rows[1].widget
    panel.delete.click()
    assert list(panel.rows) == [3]
    assert gone.comm is None
    assert panel.baseline is panel.rows[3].run
    assert not is_shown(panel.tools)


def test_two_runs_are_wiped_over_each_other(panel: HistoryPanel) -> None:
    drawn(panel), drawn(panel, FreeU()), drawn(panel)
    assert not is_shown(panel.wipe)
    panel.rows[1].select.value = panel.rows[2].select.value = True
    assert is_shown(panel.wipe)
    shown = panel.wipe.children[1].value
    assert shown.count("<img") == 4
    panel.wipe.place.value = 30
    assert "inset(0 70% 0 0)" in panel.wipe.children[0].value
    assert panel.wipe.children[1].value is shown
    panel.rows[3].select.value = True
    assert not is_shown(panel.wipe)


def test_a_row_says_how_far_its_picture_is_from_the_baselines(panel: HistoryPanel) -> None:
    pytest.importorskip("flip_evaluator")
    plain, other = drawn(panel), drawn(panel, FreeU())
    drawn(panel, QKVFusion()), drawn(panel, FreeU(), request=Request("a cat", steps=2))
    panel._consider()
    panel.judge.wait(TIMEOUT)
    found = dpnb.compare(plain.pictures, other.pictures)
    assert found.flip is not None
    assert list(panel.session.run_state.verdicts) == [(2, 1)]
    assert f"(FLIP {found.flip.mean:.3f})" in panel.rows[2].words
    assert PHRASES[found.words] in panel.rows[2].words
    assert "FLIP" not in panel.rows[1].words + panel.rows[3].words + panel.rows[4].words
    panel.rows[1].select.value = panel.rows[2].select.value = True
    panel.export.click()
    table = re.search(r"text/csv;base64,([^\"]+)", panel.files.value)
    assert table is not None
    rows = list(csv.DictReader(io.StringIO(base64.b64decode(table[1]).decode())))
    assert [row["compared_with"] for row in rows] == ["", "1"]
    assert float(rows[1]["flip"]) == pytest.approx(found.flip.mean)
    panel.rows[2].choose.click()
    assert "FLIP" not in panel.rows[2].words
    panel.judge.wait(TIMEOUT)
    panel.rows[1].choose.click()
    assert "FLIP" in panel.rows[2].words


def test_pictures_are_not_compared_while_something_is_drawn(
    panel: HistoryPanel, gate: Gate
) -> None:
    pytest.importorskip("flip_evaluator")
    gate.open(8)
    drawn(panel), drawn(panel, FreeU())
    gate.reached(8)
    panel._consider()
    panel.judge.wait(TIMEOUT)
    before = panel.session.run_state.verdicts
    panel.session.run_state.verdicts = {}
    job = panel.session.start(REQUEST)
    gate.reached(1)
    begun = panel.judge._task
    panel._consider()
    assert panel.judge._task is begun
    panel.judge._judge([(panel.rows[2].run, panel.rows[1].run)])
    assert panel.session.run_state.verdicts == {}
    gate.open(100)
    job.wait(TIMEOUT)
    panel._consider()
    panel.judge.wait(TIMEOUT)
    assert before
    assert before.items() <= panel.session.run_state.verdicts.items()


def test_a_map_shows_where_two_runs_differ(panel: HistoryPanel) -> None:
    pytest.importorskip("flip_evaluator")
    plain, other = drawn(panel), drawn(panel, FreeU())
    panel.rows[1].select.value = panel.rows[2].select.value = True
    shown = panel.wipe.children[1]
    assert shown.value.count("<img") == 4
    panel.wipe.where.click()
    panel.wipe.wait(TIMEOUT)
    assert shown.value.count("<img") == 5
    assert html.escape(dpnb.compare(plain.pictures, other.pictures).describe()) in shown.value
    panel.rows[2].select.value = False
    assert shown.value == ""


def test_without_the_packages_a_row_says_levels_and_the_map_says_why(
    panel: HistoryPanel, monkeypatch: pytest.MonkeyPatch, pipe: Any
) -> None:
    monkeypatch.setitem(sys.modules, "flip_evaluator", None)
    later = HistoryPanel(pipe)
    try:
        drawn(later), drawn(later, FreeU())
        later._consider()
        later.judge.wait(TIMEOUT)
        assert "of 255 on average" in later.rows[2].words
        later.rows[1].select.value = later.rows[2].select.value = True
        later.wipe.where.click()
        later.wipe.wait(TIMEOUT)
        assert "dpnb[quality]" in later.wipe.children[4].value
    finally:
        later.close()


def test_restoring_brings_back_the_whole_request(panel: HistoryPanel, pipe: Any) -> None:
    fields = RunPanel(pipe)
    asked = Request("a cat", "blurry", 3, 4.5, 64, 32, 7, 2, "EulerDiscreteScheduler")
    drawn(panel, FreeU(), request=asked)
    drawn(panel)
    panel.rows[1].restore.click()
    assert replace(fields.request, more=(), scheduler_settings=None) == asked
    assert pipe.strategies.active == {FreeU()}
    fields.close()


def test_restoring_brings_back_what_the_scheduler_was_set_to(
    panel: HistoryPanel, pipe: Any
) -> None:
    fields, kind = RunPanel(pipe, REQUEST), type(pipe.scheduler)
    first = drawn(panel)
    pipe.scheduler = kind.from_config(pipe.scheduler.config, beta_schedule="linear")
    fields.draw().wait(TIMEOUT)
    panel.rows[1].restore.click()
    fields.draw().wait(TIMEOUT)
    again = panel.session.run_state.history[-1]
    assert pipe.scheduler.config.beta_schedule == "scaled_linear"
    assert again.pictures[0].tobytes() == first.pictures[0].tobytes()
    pipe.scheduler = other = dpnb.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    fields.draw().wait(TIMEOUT)
    assert pipe.scheduler is other
    fields.close()


def test_a_panel_made_later_shows_the_runs_before(panel: HistoryPanel, pipe: Any) -> None:
    drawn(panel)
    later = HistoryPanel(pipe)
    assert list(later.rows) == [1]
    later.close()
