from __future__ import annotations

import base64
import gc
import io
import random
import re
import time
import weakref
from collections.abc import Iterator
from typing import Any

import ipywidgets as w
import pytest
from PIL import Image
from traitlets import TraitError

import dpnb
from dpnb.pipelines.attached.attached_run import AttachError
from dpnb.strategies.placement import ModelOffload, SequentialOffload
from dpnb.strategies.vae import VaeTiling
from dpnb.widgets.dashboard import Dashboard
from dpnb.widgets.job import StoppedError
from dpnb.widgets.panel_meters import panel_meter
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import Request
from tests.widgets.chosen_files import count_widgets
from tests.widgets.conftest import TIMEOUT, Gate

CLICKS = 200
LINK = "simulated:64GiB/s"


@pytest.fixture
def board(pipe: Any) -> Iterator[Dashboard]:
    board = dpnb.dashboard(pipe, Request("a red apple", steps=3))
    yield board
    board.close()


def inside(widget: w.Widget) -> Iterator[w.Widget]:
    """A widget and all that are in it."""
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def test_a_dashboard_has_all_panels_and_nests(board: Dashboard) -> None:
    box = w.VBox([board])
    found = list(inside(box))
    for panel in (board.run, board.strategies, board.memory, board.planner, board.history):
        assert panel in found


@pytest.mark.parametrize("make", [dpnb.dashboard, dpnb.RunPanel, dpnb.PlannerPanel])
def test_what_cannot_be_made_leaves_nothing_behind(pipe: Any, make: Any) -> None:
    before = count_widgets()
    words = re.escape("request is 'a cat'; give a request, such as dpnb.Request('a cat'), or none.")
    with pytest.raises(TypeError, match=words):
        make(pipe, "a cat")
    assert list(pipe.listeners) == []
    assert count_widgets() == before


def test_what_a_part_fails_with_closes_the_whole(pipe: Any) -> None:
    with pytest.raises(TraitError):
        dpnb.dashboard(pipe, Request(5))  # type: ignore[arg-type]
    assert list(pipe.listeners) == []
    with pytest.raises(AttachError):
        dpnb.dashboard(5)


def test_what_lacks_a_pipeline_is_told_so() -> None:
    kind: Any = dpnb.RunPanel
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'pipe'"):
        kind()


def test_nothing_is_drawn_from_a_closed_dashboard(pipe: Any) -> None:
    board, other = dpnb.dashboard(pipe), dpnb.RunPanel(pipe)
    board.close()
    with pytest.raises(SessionError, match=r"closed; make another with dpnb\.dash"):
        board.draw()
    assert not other.session.is_drawing
    other.close()


def test_a_run_is_seen_by_all_panels(board: Dashboard) -> None:
    board.draw().wait(TIMEOUT)
    assert "<svg" in board.memory.chart.value
    assert "peak of this run" in board.memory.numbers.value
    assert list(board.history.rows) == [1]
    assert "Picture of" in board.run.picture.value


def test_memory_is_measured_with_what_is_chosen(board: Dashboard) -> None:
    assert "<svg" not in board.memory.chart.value
    board.memory.meter.value = "tensors"
    board.draw().wait(TIMEOUT)
    assert "bytes of tensors that the run has made" in board.memory.chart.value
    board.session.run_state.meter = "host"
    assert board.memory.meter.value == "host"


def test_the_choice_of_meters_is_what_this_machine_has(board: Dashboard, pipe: Any) -> None:
    for _, name in board.memory.meter.options:
        assert panel_meter(pipe, name).read().current >= 0


def test_every_control_has_a_name(board: Dashboard) -> None:
    kinds = (w.Button, w.ToggleButton, w.Checkbox, w.Dropdown, w.Text, w.Textarea, w.BoundedIntText)
    for widget in inside(board):
        if (
            isinstance(widget, (*kinds, w.BoundedFloatText))
            and widget is not board.run.memory_saver
        ):
            assert widget.description.strip(), widget


@pytest.mark.slow
def test_plans_are_made_for_what_the_fields_say(board: Dashboard, pipe: Any) -> None:
    board.run.width.value = board.run.height.value = 32
    board.run.steps.value = 2
    board.planner.device.value = None
    table = board.planner.plan().wait(TIMEOUT)
    assert (table.workload.width, table.workload.height, table.workload.steps) == (32, 32, 2)
    board.planner.width.value = 40
    assert board.run.width.value == 40
    chosen = next(e for e in board.planner.rows if VaeTiling in map(type, e.plan))
    chosen.use.click()
    assert pipe.strategies.active == chosen.plan
    assert board.strategies.rows[VaeTiling].switch.value


def test_where_nothing_is_live_there_is_a_still_picture(board: Dashboard) -> None:
    assert "image/png" not in board._repr_mimebundle_()
    board.strategies.session.enable(dpnb.AttentionSlicing())
    board.draw().wait(TIMEOUT)
    data = board._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size[0] > 600
    assert repr(board) == "Dashboard of StableDiffusionPipeline"


@pytest.mark.slow
def test_nothing_lives_on_after_the_end() -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    before = count_widgets()
    board = dpnb.dashboard(pipe, Request("a red apple", steps=2))
    board.draw().wait(TIMEOUT)
    board.strategies.session.enable(dpnb.AttentionSlicing())
    board.draw().wait(TIMEOUT)
    board.history.rows[1].select.value = True
    board.run.width.value = board.run.height.value = 16
    board.planner.device.value = None
    board.planner.plan().wait(TIMEOUT)
    board.close()
    assert count_widgets() == before
    memories = [weakref.ref(item) for item in (pipe, board, board.session, board.run)]
    del board, pipe
    gc.collect()
    assert [memory() for memory in memories] == [None] * 4


def test_closing_in_the_middle_of_a_run_ends_it(pipe: Any, gate: Gate) -> None:
    board = dpnb.dashboard(pipe, Request("a red apple", steps=50))
    job = board.draw()
    gate.open(2)
    gate.reached(3)
    board.close()
    gate.open(50)
    with pytest.raises(StoppedError):
        job.wait(TIMEOUT)


@pytest.mark.slow
def test_hundreds_of_clicks_during_runs_break_nothing(board: Dashboard, pipe: Any) -> None:
    chance = random.Random(0)
    rows = board.strategies.rows
    for kind in (ModelOffload, SequentialOffload):
        rows[kind].controls["device"].inputs[0].value = LINK
    switches = [row.switch for row in rows.values() if not row.switch.disabled]
    boxes = [
        part
        for row in rows.values()
        for control in row.controls.values()
        for part in control.inputs
        if isinstance(part, w.Checkbox)
    ]
    actions = [*switches, *switches, *boxes, *board.strategies.presets, board.run.stop]
    board.run.steps.value = 12
    for _ in range(CLICKS):
        if board.session.run_state.phase == "idle":
            board.run.generate.click()
        target = chance.choice(actions)
        if isinstance(target, w.Button):
            target.click()
        else:
            target.value = not target.value
        time.sleep(chance.random() * 0.01)
    board.session.stop()
    job = board.session.job
    assert job is not None
    while not job.is_done:
        time.sleep(0.01)
    assert board.session.run_state.error == ""
    plan = pipe.strategies.active
    assert board.session.strategy_state.active == board.session.strategy_state.wanted == plan
    for shown, row in rows.items():
        chosen = pipe.strategies.find(shown)
        assert row.switch.value == (chosen is not None), shown
        assert chosen is None or row.draft == chosen
    pipe.strategies.use([])
    plain = pipe(**Request("a red apple", steps=2).arguments()).images[0]
    fresh = board.session.start(Request("a red apple", steps=2)).wait(TIMEOUT).images[0]
    assert plain.tobytes() == fresh.tobytes()
