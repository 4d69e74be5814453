"""Runs that wait for their turn."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from typing_extensions import override

import dpnb
from dpnb.errors import StrategyError
from dpnb.stages import Stage
from dpnb.strategies.networks import Networks
from dpnb.strategies.strategy import Slot, Strategy
from dpnb.strategies.undo import Undo
from dpnb.widgets.job import StoppedError
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT, Gate, is_shown


def ask(seed: int, steps: int = 1) -> Request:
    return Request("a red apple", steps=steps, width=32, height=32, seed=seed)


def seeds(session: Session) -> list[int]:
    return [run.request.seed for run in session.run_state.history if run.request is not None]


@pytest.fixture
def panel(pipe: Any) -> Iterator[RunPanel]:
    panel = RunPanel(pipe, ask(0))
    yield panel
    panel.close()


def test_runs_are_drawn_one_after_the_other(session: Session, gate: Gate) -> None:
    jobs = [session.queue.add(ask(seed)) for seed in range(3)]
    assert [request.seed for request in session.run_state.queue] == [1, 2]
    gate.open(100)
    for job in jobs:
        assert len(job.wait(TIMEOUT).images) == 1
    assert seeds(session) == [0, 1, 2]
    assert session.run_state.queue == ()
    assert session.run_state.phase == "idle"


def test_a_run_may_have_switches_of_its_own(session: Session, gate: Gate, pipe: Any) -> None:
    session.queue.add(ask(0))
    last = session.queue.add(ask(1), frozenset({dpnb.AttentionSlicing()}))
    gate.open(100)
    last.wait(TIMEOUT)
    assert [run.plan for run in session.run_state.history] == [
        frozenset(),
        frozenset({dpnb.AttentionSlicing()}),
    ]
    assert pipe.strategies.active == {dpnb.AttentionSlicing()}


@dataclass(frozen=True)
class Refused(Strategy):
    """Has no room."""

    slot: ClassVar[Slot] = Slot.LAYOUT

    @override
    def apply(self, networks: Networks, undo: Undo) -> None:
        raise StrategyError("No room.")


def test_a_run_whose_switches_are_refused_is_not_drawn(session: Session, pipe: Any) -> None:
    job = session.queue.add(ask(0), frozenset({Refused()}))
    with pytest.raises(StrategyError, match="No room"):
        job.wait(TIMEOUT)
    assert session.run_state.history == ()
    assert (session.run_state.phase, session.run_state.error) == ("idle", "No room.")
    assert pipe.strategies.active == frozenset()
    session.queue.add(ask(1)).wait(TIMEOUT)
    assert seeds(session) == [1]


def test_what_waits_can_be_taken_out(session: Session, gate: Gate) -> None:
    session.queue.add(ask(0))
    jobs = [session.queue.add(ask(seed)) for seed in (1, 2, 3, 4)]
    session.queue.remove(1)
    assert [request.seed for request in session.run_state.queue] == [1, 3, 4]
    with pytest.raises(StoppedError, match="stopped before it began"):
        jobs[1].wait(TIMEOUT)
    jobs[2].cancel()
    gate.open(100)
    jobs[0].wait(TIMEOUT)
    jobs[3].wait(TIMEOUT)
    assert seeds(session) == [0, 1, 4]


@pytest.mark.parametrize("end", ["stop", "fail"])
def test_what_waits_goes_on_waiting_after_a_run_that_was_not_finished(
    session: Session, gate: Gate, end: str
) -> None:
    first = session.queue.add(ask(0, steps=4))
    second = session.queue.add(ask(1))
    gate.open(2)
    gate.reached(3)
    if end == "stop":
        session.stop()
    else:
        gate.fails_at = Stage.DENOISING, ValueError("no such number")
    gate.open(1)
    with pytest.raises((StoppedError, ValueError)):
        first.wait(TIMEOUT)
    assert [request.seed for request in session.run_state.queue] == [1]
    assert session.run_state.phase == "idle"
    gate.fails_at = None
    third = session.queue.add(ask(2))
    gate.open(100)
    second.wait(TIMEOUT)
    third.wait(TIMEOUT)
    assert seeds(session) == [0, 1, 2]


def test_what_cannot_be_drawn_is_refused_at_once(session: Session, gate: Gate) -> None:
    job = session.queue.add(ask(0))
    with pytest.raises(ValueError, match="60"):
        session.queue.add(Request("a cat", width=60, steps=1))
    with pytest.raises(ValueError, match="can take over"):
        session.queue.add(Request("a cat", scheduler="FlowMatchEulerDiscreteScheduler"))
    assert session.run_state.queue == ()
    gate.open(100)
    job.wait(TIMEOUT)


def test_closing_takes_all_out(pipe: Any, gate: Gate) -> None:
    session = Session.of(pipe)
    present, job = session.queue.add(ask(0)), session.queue.add(ask(1))
    session.close()
    gate.open(100)
    for one in (present, job):
        with pytest.raises(StoppedError):
            one.wait(TIMEOUT)


def test_generate_adds_to_the_queue_while_something_is_drawn(panel: RunPanel, gate: Gate) -> None:
    panel.generate.click()
    gate.reached()
    assert not is_shown(panel.waiting)
    panel.prompt.value = "a banana"
    panel.generate.click()
    panel.prompt.value = "a cat"
    job = panel.draw()
    assert is_shown(panel.waiting)
    words = [row.children[0].value for row in panel.waiting.entries.children]
    assert [word.split(" · ")[0] for word in words] == ["Next: a banana", "Then: a cat"]
    assert not is_shown(panel.waiting.go_on)
    panel.waiting.entries.children[0].children[1].click()
    gate.open(100)
    job.wait(TIMEOUT)
    history = panel.session.run_state.history
    assert [run.request.prompt for run in history] == ["a red apple", "a cat"]
    assert not is_shown(panel.waiting)


def test_a_stopped_queue_goes_on_by_a_click(panel: RunPanel, gate: Gate) -> None:
    panel.generate.click()
    gate.reached()
    panel.generate.click()
    panel.stop.click()
    gate.open(100)
    job = panel.session.job
    assert job is not None
    with pytest.raises(StoppedError):
        job.wait(TIMEOUT)
    assert is_shown(panel.waiting.go_on)
    panel.waiting.go_on.click()
    assert panel.session.job is not None
    panel.session.job.wait(TIMEOUT)
    panel.generate.click()
    panel.session.job.wait(TIMEOUT)
    panel.waiting.clear.click()
    assert len(panel.session.run_state.history) == 3


def test_every_run_can_have_a_fresh_seed(panel: RunPanel) -> None:
    panel.fields.is_seed_fresh.value = True
    found = set()
    for _ in range(3):
        panel.draw().wait(TIMEOUT)
        found.add(panel.session.run_state.history[-1].request.seed)
        assert panel.seed.value in found
    assert len(found) == 3


def test_a_shape_sets_width_and_height(panel: RunPanel) -> None:
    shape = panel.fields.shape
    for name, size in shape.options[1:]:
        shape.value = size
        assert (panel.width.value, panel.height.value) == size
        assert f"{size[0]} × {size[1]}" in name
        assert shape.label == "choose …"
    area: Any = panel.session.pipe.default_size()
    assert any(0.5 < w * h / (area[0] * area[1]) < 2 for _, (w, h) in shape.options[1:])


def test_a_run_that_is_stopped_before_its_thread_begins_ends(session: Session, gate: Gate) -> None:
    request = ask(0)
    job = session.make_job(request)
    job.cancel()
    session.begin(job, request)
    with pytest.raises(StoppedError, match="stopped before it began"):
        job.wait(TIMEOUT)
    deadline = time.monotonic() + TIMEOUT
    while session.is_drawing and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not session.is_drawing
    gate.open(100)
    assert session.run_state.phase == "idle"
    assert session.run_state.message == "The run was stopped before it began."
    assert session.run_state.error == ""
    session.start(ask(1)).wait(TIMEOUT)
    assert seeds(session) == [1]
