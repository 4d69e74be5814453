"""How far pictures of runs differ, found in the background or because somebody asks."""

from __future__ import annotations

import base64
import io
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

import dpnb
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.projection import QKVFusion
from dpnb.widgets import history_row, picture_judge, picture_wipe, run_monitor
from dpnb.widgets.history_costs import find_picture_costs
from dpnb.widgets.history_panel import HistoryPanel
from dpnb.widgets.picture_judge import Verdict
from dpnb.widgets.picture_wipe import draw_where
from dpnb.widgets.run_comparison import compare_runs
from dpnb.widgets.state import FinishedRun
from tests.widgets.conftest import TIMEOUT
from tests.widgets.histories import REQUEST, drawn


@pytest.fixture
def panel(pipe: Any) -> Iterator[HistoryPanel]:
    panel = HistoryPanel(pipe)
    yield panel
    panel.close()


def test_a_change_that_leaves_the_picture_as_it_is_is_known_to_do_so(panel: HistoryPanel) -> None:
    pytest.importorskip("flip_evaluator")
    idle = dpnb.FreeU(b1=1, b2=1, s1=1, s2=1)
    drawn(panel), drawn(panel, idle)
    panel._consider()
    panel.judge.wait(TIMEOUT)
    assert panel.session.run_state.verdicts == {(2, 1): Verdict(0.0, 0.0)}
    assert find_picture_costs(panel.session).predict(frozenset({idle})) == 0


def test_what_comes_while_pictures_are_compared_is_compared_after_them(
    panel: HistoryPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("flip_evaluator")
    begun, goes_on = threading.Event(), threading.Event()

    def wait(*given: Any) -> Any:
        begun.set()
        assert goes_on.wait(TIMEOUT)
        return dpnb.compare(*given)

    monkeypatch.setattr(picture_judge, "compare", wait)
    monkeypatch.setattr(picture_judge, "compare_runs", count_calls := CountCalls())
    drawn(panel), drawn(panel, FreeU())
    panel._consider()
    assert begun.wait(TIMEOUT)
    drawn(panel, FreeU(b1=1.2)), drawn(panel, QKVFusion())
    panel.session.run_state.baseline = 3
    goes_on.set()
    panel.judge.wait(TIMEOUT)
    assert {(1, 3), (2, 3), (4, 3)} <= set(panel.session.run_state.verdicts)
    before = count_calls.count
    for _ in range(3):
        panel._consider()
    assert count_calls.count == before


class CountCalls:
    """Compares runs, and counts how often."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, one: FinishedRun, other: FinishedRun) -> Any:
        self.count += 1
        return compare_runs(one, other)


def test_verdicts_go_with_their_runs(panel: HistoryPanel, monkeypatch: pytest.MonkeyPatch) -> None:
    state = panel.session.run_state
    runs = [drawn(panel), drawn(panel, FreeU()), drawn(panel, FreeU(b1=1.2))]
    for run in runs[1:]:
        state.note_verdict(run, runs[0], Verdict(0.5, 0.5))
    assert "FLIP 0.500" in panel.rows[2].words
    panel.session.forget_runs({3})
    assert (3, 1) not in state.verdicts
    state.note_verdict(runs[2], runs[0], Verdict(0.5, 0.5))
    assert drawn(panel, FreeU(b1=1.1)).number == 4, "no number is given twice"
    assert (3, 1) not in state.verdicts
    monkeypatch.setattr(run_monitor, "KEPT", 2)
    drawn(panel)
    assert (2, 1) not in state.verdicts


def test_only_rows_of_which_something_was_found_are_written_anew(
    panel: HistoryPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [drawn(panel), drawn(panel, FreeU()), drawn(panel, FreeU(b1=1.2))]
    monkeypatch.setattr(history_row, "compare_runs", count_calls := CountCalls())
    written: list[Any] = []
    for row in panel.rows.values():
        row._words.observe(lambda change: written.append(change["owner"]), "value")
    panel.session.run_state.note_verdict(runs[1], runs[0], Verdict(0.4, 0.4))
    assert written == [panel.rows[2]._words]
    assert count_calls.count == 0


def test_several_maps_lie_as_their_pictures_do(panel: HistoryPanel) -> None:
    pytest.importorskip("flip_evaluator")
    request = replace(REQUEST, count=4)
    plain, other = drawn(panel, request=request), drawn(panel, FreeU(), request=request)
    found = dpnb.compare(plain.pictures, other.pictures, ["flip"])
    data = re.search(r"base64,([^\"]+)", draw_where(plain, other, found))
    assert data is not None
    map_ = Image.open(io.BytesIO(base64.b64decode(data[1])))
    one = found.heat_maps[0]
    assert map_.size == (2 * one.width, 2 * one.height)


def test_what_a_map_has_found_is_known_from_then_on(
    panel: HistoryPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("flip_evaluator")
    monkeypatch.setattr(picture_judge, "PIXELS", 0)
    drawn(panel), drawn(panel, FreeU()), drawn(panel, request=replace(REQUEST, prompt="a cat"))
    panel._consider()
    panel.judge.wait(TIMEOUT)
    assert panel.session.run_state.verdicts == {}
    panel.rows[1].select.value = panel.rows[2].select.value = True
    panel.wipe.where.click()
    begun = panel.wipe._task
    panel.wipe.where.click()
    assert panel.wipe._task is begun, "one press is enough"
    panel.wipe.wait(TIMEOUT)
    assert set(panel.session.run_state.verdicts) == {(1, 2), (2, 1)}
    assert "FLIP" in panel.rows[2].words
    panel.rows[2].select.value, panel.rows[3].select.value = False, True
    panel.wipe.where.click()
    panel.wipe.wait(TIMEOUT)
    assert set(panel.session.run_state.verdicts) == {(1, 2), (2, 1)}, "another prompt says nothing"


def test_a_map_that_fails_says_why_and_can_be_asked_for_again(
    panel: HistoryPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError("no room for a map")

    pytest.importorskip("flip_evaluator")
    drawn(panel), drawn(panel, FreeU())
    panel.rows[1].select.value = panel.rows[2].select.value = True
    with monkeypatch.context() as patch:
        patch.setattr(picture_wipe, "compare", fail)
        panel.wipe.where.click()
        panel.wipe.wait(TIMEOUT)
    assert "no room for a map" in panel.wipe.children[4].value
    panel.wipe.where.click()
    panel.wipe.wait(TIMEOUT)
    assert panel.wipe.children[4].value == ""
