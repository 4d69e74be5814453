"""What a session shows while runs begin and end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn

import dpnb
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.strategies.out_of_memory import OutOfMemoryError
from dpnb.widgets import run_monitor
from dpnb.widgets.history_panel import HistoryPanel
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.session import Session
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT, Gate

THREE = Request("a red apple", steps=3)
STEPS_OF_THREE = 5
ROOM = str(Path(run_monitor.__file__).parent)


class SlowEncoder:
    """The encoder of PNG files, which waits.

    Attributes:
        reached: is set when there is something to encode.
        may_go_on: is to be set.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        Image.init()
        self.reached, self.may_go_on = threading.Event(), threading.Event()
        self._save: Callable[..., None] = Image.SAVE["PNG"]
        patch.setitem(Image.SAVE, "PNG", self)

    def __call__(self, *arguments: Any) -> None:
        self.reached.set()
        assert self.may_go_on.wait(TIMEOUT)
        self._save(*arguments)


@pytest.fixture
def encoder(session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowEncoder]:
    session.run_state.preview_every = -1
    encoder = SlowEncoder(monkeypatch)
    yield encoder
    encoder.may_go_on.set()


def test_a_run_that_begins_before_another_is_shown_to_be_over_is_shown(
    session: Session, pipe: Any, gate: Gate, encoder: SlowEncoder
) -> None:
    panel = RunPanel(pipe)
    job = session.start(THREE)
    gate.open(STEPS_OF_THREE)
    gate.reached(STEPS_OF_THREE)
    assert encoder.reached.wait(TIMEOUT)
    cell = threading.Thread(target=lambda: pipe("a cat", num_inference_steps=9))
    cell.start()
    gate.reached()
    encoder.may_go_on.set()
    job.wait(TIMEOUT)
    assert (session.run_state.phase, session.is_drawing) == ("running", True)
    assert (panel.generate.description, panel.stop.disabled) == ("Add to queue", False)
    session.stop()
    gate.open(9)
    cell.join(TIMEOUT)
    assert (session.run_state.phase, session.is_drawing) == ("idle", False)
    assert [run.number for run in session.run_state.history] == [1, 2]
    [ours, theirs] = [run.request for run in session.run_state.history]
    assert (ours.prompt, ours.steps, theirs) == (THREE.prompt, THREE.steps, None)
    assert [run.trace.runs[0].outcome for run in session.run_state.history] == [
        "finished", "interrupted",
    ]  # fmt: skip
    panel.close()


def test_a_run_is_busy_until_it_is_shown_to_be_over(
    session: Session, gate: Gate, encoder: SlowEncoder
) -> None:
    job = session.start(THREE)
    gate.open(STEPS_OF_THREE)
    assert encoder.reached.wait(TIMEOUT)
    assert (session.run_state.phase, session.is_drawing) == ("running", True)
    with pytest.raises(SessionError, match="A run is going on"):
        session.start(THREE)
    session.stop()
    assert session.run_state.phase == "running"
    session.enable(dpnb.AttentionSlicing())
    assert session.pipe.strategies.active == {dpnb.AttentionSlicing()}
    encoder.may_go_on.set()
    job.wait(TIMEOUT)
    assert (session.run_state.phase, session.is_drawing) == ("idle", False)
    assert session.run_state.message.startswith("Drawn in")


class Tracer:
    """Calls `look` in every line or call of the panels' own code, in threads that begin now."""

    def __init__(self, look: Callable[[FrameType, str], None]) -> None:
        self._look = look

    @contextmanager
    def on(self) -> Iterator[None]:
        before = sys.gettrace()
        threading.settrace(self._trace)
        sys.settrace(self._trace)
        try:
            yield
        finally:
            sys.settrace(before)
            threading.settrace(before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(ROOM):
            return None
        self._look(frame, event)
        return self._trace


def test_at_no_line_of_a_beginning_a_session_seems_free(session: Session, gate: Gate) -> None:
    seen: list[tuple[int, bool]] = []

    def look(frame: FrameType, event: str) -> None:
        if event == "line" and frame.f_code.co_name in ("begin_run", "_start_recording"):
            seen.append((frame.f_lineno, session.is_drawing))

    with Tracer(look).on():
        job = session.start(THREE)
        gate.open(STEPS_OF_THREE)
        job.wait(TIMEOUT)
    assert len(seen) > 10
    assert [line for line, is_drawing in seen if not is_drawing] == []


def test_a_cell_that_begins_first_is_not_taken_for_what_a_panel_asked(
    session: Session, pipe: Any, gate: Gate
) -> None:
    class Earlier(RunListener[Run]):
        def __init__(self) -> None:
            self.has_begun = False

        def begin_run(self, run: Run) -> None:
            if not self.has_begun:
                self.has_begun = True
                cell.start()
                gate.reached()

    leave = first_heard(session, Earlier())
    cell = threading.Thread(target=lambda: pipe("a cat", num_inference_steps=1))
    job = session.start(THREE)
    gate.open(100)
    job.wait(TIMEOUT)
    cell.join(TIMEOUT)
    leave()
    asked = [run.request for run in session.run_state.history]
    assert all(one is None or (one.prompt, one.steps) == (THREE.prompt, 3) for one in asked)
    for run in session.run_state.history:
        steps = [step for step in run.trace.steps if step.stage == "denoising"]
        assert len(steps) == (1 if run.request is None else 3)
    assert (session.run_state.phase, session.is_drawing) == ("idle", False)


def last_heard(session: Session, listener: RunListener[Run]) -> Callable[[], None]:
    """Let a listener hear of runs after the session does."""
    leave: Callable[[], None] = session.pipe.watch(listener)
    return leave


def first_heard(session: Session, listener: RunListener[Run]) -> Callable[[], None]:
    """Let a listener hear of runs before the session does."""
    pipe: Any = session.pipe
    listeners = pipe.listeners
    leave = last_heard(session, listener)
    listeners.insert(0, listeners.pop())
    return leave


class Fault:
    """Memory runs out when a certain function is called, once.

    Args:
        place: the function; `None` for none.

    Attributes:
        places: the functions that were called.
    """

    def __init__(self, place: CodeType | None = None) -> None:
        self.places: dict[CodeType, None] = {}
        self._place = place

    def look(self, frame: FrameType, event: str) -> None:
        if event != "call":
            return
        self.places[frame.f_code] = None
        if frame.f_code is self._place:
            self._place = None
            raise MemoryError("no memory for this")


ROOTS = ("work", "__call__")
"""What a thread begins with, and what cannot fail before what it calls."""


def drawn_with(fault: Fault, session: Session, request: Request) -> None:
    """Try to draw while there is a fault; whether that succeeds does not matter, but it ends."""
    try:
        with Tracer(fault.look).on():
            job = session.start(request)
    except MemoryError:
        return
    try:
        job.wait(TIMEOUT)
    except TimeoutError:
        raise AssertionError("the job does not end") from None
    except (MemoryError, OutOfMemoryError):
        pass


def settled(session: Session) -> bool:
    return not session.is_drawing and session.run_state.phase == "idle"


@pytest.mark.slow
def test_a_job_ends_wherever_memory_runs_out(session: Session) -> None:
    panels = RunPanel(session.pipe), HistoryPanel(session.pipe)
    request = Request("a red apple", steps=1, width=16, height=16)
    known = Fault()
    drawn_with(known, session, request)
    places = [place for place in known.places if place.co_name not in ROOTS]
    assert len(places) > 40
    for place in places:
        drawn_with(Fault(place), session, request)
        assert settled(session), place
    number = session.run_state.history[-1].number
    session.start(request).wait(TIMEOUT)
    assert session.run_state.history[-1].number == number + 1
    assert session.run_state.error == ""
    for panel in panels:
        panel.close()


def test_a_job_ends_whose_memory_saver_cannot_be_simulated(session: Session) -> None:
    pipe: Any = session.pipe
    encoder = type(pipe.text_encoder)

    def exhaust(module: nn.Module, _: Any) -> None:
        if isinstance(module, encoder):
            raise MemoryError("no words fit")

    hook = torch.nn.modules.module.register_module_forward_pre_hook(exhaust)
    try:
        with pytest.raises(OutOfMemoryError, match="no words fit"):
            session.start(THREE).wait(TIMEOUT)
    finally:
        hook.remove()
    assert "Memory ran out while the prompt was encoded" in session.run_state.error
    assert settled(session)
    session.start(THREE).wait(TIMEOUT)


def test_an_observer_that_fails_stops_nobody(
    session: Session, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(change: Any) -> None:
        raise LookupError(f"nothing is known of {change['name']}")

    session.run_state.observe(fail)
    session.strategy_state.observe(fail)
    panel = RunPanel(session.pipe)
    gate.open(STEPS_OF_THREE)
    session.start(THREE).wait(TIMEOUT)
    assert settled(session)
    assert panel.generate.description == "Generate"
    assert "Drawn in" in panel.message.value
    assert "nothing is known of phase" in caplog.text
    session.run_state.unobserve(fail)
    caplog.clear()
    session.run_state.message = ""
    assert caplog.text == ""
    panel.close()


@pytest.mark.parametrize("moment", ["begin_run", "begin_step", "end_step", "end_run"])
def test_a_listener_that_fails_ends_the_job(session: Session, moment: str) -> None:
    def fail(*_: Any) -> None:
        raise LookupError(moment)

    for is_first in (False, True):
        listener = RunListener[Run]()
        vars(listener)[moment] = fail
        leave = (first_heard if is_first else last_heard)(session, listener)
        with pytest.raises(LookupError, match=moment):
            session.start(THREE).wait(TIMEOUT)
        leave()
        assert settled(session)
    session.start(THREE).wait(TIMEOUT)
    assert session.run_state.error == ""


def test_a_request_that_is_refused_changes_nothing(session: Session) -> None:
    scheduler = session.pipe.scheduler
    with pytest.raises(ValueError, match="60"):
        session.start(Request("a", width=60, scheduler="EulerDiscreteScheduler"))
    assert session.pipe.scheduler is scheduler
    assert settled(session)
    session.start(THREE).wait(TIMEOUT)
