from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import dpnb
from dpnb.widgets.anywidget_board import AnywidgetBoard
from dpnb.widgets.marimo_dashboard import AnywidgetError
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT, Gate

WITHOUT = """
import sys
sys.modules["anywidget"] = None
import dpnb
try:
    dpnb.marimo_dashboard(dpnb.random_pipeline("tiny-sd"))
except dpnb.AnywidgetError as error:
    print(error)
"""


@pytest.fixture
def board(pipe: Any) -> Iterator[AnywidgetBoard]:
    board = dpnb.marimo_dashboard(pipe, Request("a pear", steps=3))
    yield board
    board.close()


def ask(board: AnywidgetBoard, name: str, **more: Any) -> None:
    """Do what the page does when somebody clicks."""
    board.command = {"name": name, "serial": f"{len(board.history)} {board.command}", **more}


def find_switch(board: AnywidgetBoard, name: str) -> dict[str, Any]:
    [found] = [one for one in board.switches if one["name"] == name]
    return dict(found)


def wait(board: AnywidgetBoard) -> None:
    job = board.session.job
    assert job is not None
    job.wait(TIMEOUT)


def test_fields_are_those_that_the_call_takes(board: AnywidgetBoard) -> None:
    assert board.fields == {
        "prompt": "a pear", "negative_prompt": "", "steps": 3, "guidance_scale": 7.5,
        "width": 32, "height": 32, "seed": 0,
    }  # fmt: skip


def test_what_is_asked_for_is_drawn_and_told(board: AnywidgetBoard) -> None:
    ask(board, "generate", fields={"prompt": "a fox", "steps": 2})
    wait(board)
    assert board.run["phase"] == "idle"
    assert board.run["message"].startswith("Drawn in")
    assert board.picture["words"] == "Picture of a fox"
    assert board.picture["address"].startswith("data:image/png;base64,")
    assert "<svg" in board.chart
    [row] = board.history
    assert row["asked"].startswith("a fox, seed 0, 2 steps")
    assert row["on"] == "nothing switched on"


def test_switches_are_those_of_the_pipeline(board: AnywidgetBoard, pipe: Any) -> None:
    ask(board, "switch", kind="VaeTiling", is_on=True)
    assert pipe.strategies.active == {dpnb.VaeTiling()}
    assert find_switch(board, "VaeTiling")["is_on"]
    pipe.strategies.use([])
    assert not find_switch(board, "VaeTiling")["is_on"]
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    ask(board, "switch", kind="FreeU", is_on=False)
    assert pipe.strategies.active == frozenset()


def test_what_cannot_serve_says_why(board: AnywidgetBoard, pipe: Any) -> None:
    barred = find_switch(board, "ModelOffload")
    assert barred["is_barred"]
    assert barred["words"] == pipe.strategies.obstacle(dpnb.ModelOffload())
    ask(board, "switch", kind="ModelOffload", is_on=True)
    assert board.said["is_refused"]
    assert pipe.strategies.active == frozenset()


def test_a_switch_in_a_run_waits_for_the_next_step(board: AnywidgetBoard, gate: Gate) -> None:
    job = board.draw()
    gate.reached()
    ask(board, "switch", kind="VaeTiling", is_on=True)
    assert find_switch(board, "VaeTiling")["is_waiting"]
    gate.open(100)
    job.wait(TIMEOUT)
    assert not find_switch(board, "VaeTiling")["is_waiting"]
    assert "VAE tiling" in board.history[0]["on"]


def test_stop_ends_a_run(board: AnywidgetBoard, gate: Gate) -> None:
    ask(board, "generate", fields={})
    gate.reached()
    ask(board, "stop")
    gate.open(100)
    with pytest.raises(dpnb.StoppedError):
        wait(board)
    assert board.history[0]["facts"].startswith("stopped")


def test_a_run_is_asked_for_again_with_what_was_on(board: AnywidgetBoard, pipe: Any) -> None:
    ask(board, "switch", kind="VaeTiling", is_on=True)
    ask(board, "generate", fields={"prompt": "a fox", "seed": 7})
    wait(board)
    ask(board, "switch", kind="VaeTiling", is_on=False)
    board.fields = {**board.fields, "prompt": "a pear"}
    ask(board, "restore", number=1)
    assert pipe.strategies.active == {dpnb.VaeTiling()}
    assert (board.fields["prompt"], board.fields["seed"]) == ("a fox", 7)


def test_restoring_brings_back_what_no_field_shows(board: AnywidgetBoard, pipe: Any) -> None:
    other, scheduler = RunPanel(pipe), pipe.scheduler
    asked = Request(
        "a fox", steps=1, count=3, scheduler="EulerDiscreteScheduler", more=(("eta", 0.5),)
    )
    other.session.start(asked).wait(TIMEOUT)
    pipe.scheduler = scheduler
    ask(board, "restore", number=1)
    ask(board, "generate", fields={})
    wait(board)
    run = board.session.run_state.history[-1]
    assert len(run.pictures) == 3
    assert (run.request.scheduler, run.request.more) == (asked.scheduler, asked.more)
    pipe.scheduler = scheduler
    ask(board, "generate", fields={})
    wait(board)
    assert pipe.scheduler is scheduler
    other.close()


def test_nothing_is_drawn_from_a_closed_board(pipe: Any) -> None:
    board = AnywidgetBoard(pipe)
    board.close()
    with pytest.raises(SessionError, match=r"another with dpnb\.marimo_dashboard"):
        board.draw()
    with pytest.raises(TypeError, match="request is 'a cat'"):
        AnywidgetBoard(pipe, "a cat")  # type: ignore[arg-type]
    assert list(pipe.listeners) == []


@pytest.mark.parametrize(
    ("field", "value"), [("steps", -3), ("width", 13), ("seed", "x"), ("prompt", 5)]
)
def test_a_mistake_is_a_sentence_and_nothing_runs(
    board: AnywidgetBoard, field: str, value: Any
) -> None:
    ask(board, "generate", fields={field: value})
    assert str(value) in board.run["error"]
    assert board.run["phase"] == "idle"
    assert board.history == []


def test_closing_it_lets_the_pipeline_go(pipe: Any) -> None:
    board = dpnb.marimo_dashboard(pipe, Request("a pear", steps=1))
    session = board.session
    board.close()
    assert list(pipe.listeners) == []
    session.run_state.message = "nobody hears this"
    assert board.run["message"] == ""


@pytest.mark.slow
def test_without_the_package_one_sentence_says_how_to_get_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    assert 'pip install "dpnb[marimo]"' in done.stdout
    assert issubclass(AnywidgetError, ImportError)
