from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

import dpnb
from dpnb.stages import Stage
from dpnb.strategies.attention import AttentionSlicing, XFormers
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.strategy import Plan
from dpnb.widgets.job import StoppedError
from dpnb.widgets.session import Session
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT, Gate

THREE = Request("a red apple", steps=3)


def active(session: Session) -> Plan:
    """What is on, which the session's state says as well."""
    plan = session.pipe.strategies.active
    assert session.strategy_state.active == plan
    return plan


def test_a_run_draws_what_was_asked_for_and_is_kept(session: Session) -> None:
    output = session.start(THREE).wait(TIMEOUT)
    [run] = session.run_state.history
    assert (run.number, run.trace.runs[0].outcome) == (1, "finished")
    size: Any = session.pipe.default_size()
    assert run.request == replace(
        THREE, guidance_scale=7.5, width=size[1], height=size[0], scheduler="DDIMScheduler"
    )
    assert list(run.pictures) == output.images == list(session.run_state.pictures)
    assert [step.stage for step in run.trace.steps] == ["text", *["denoising"] * 3, "decoding"]
    assert session.run_state.picture.startswith(b"\x89PNG")
    assert session.run_state.phase == "idle"
    assert not session.run_state.is_preview


def test_a_request_is_what_the_same_arguments_draw(session: Session, pipe: Any) -> None:
    [picture] = session.start(THREE).wait(TIMEOUT).images
    assert picture.tobytes() == pipe(**THREE.arguments()).images[0].tobytes()


def test_runs_that_a_cell_begins_are_kept_too(session: Session, pipe: Any) -> None:
    output = pipe("a cat", num_inference_steps=1)
    [run] = session.run_state.history
    assert run.request is None
    assert list(run.pictures) == output.images


def test_a_switch_lands_at_once_while_nothing_runs(session: Session) -> None:
    session.enable(QKVFusion())
    assert active(session) == {QKVFusion()}
    session.disable(QKVFusion)
    assert active(session) == frozenset()


def test_a_switch_waits_for_the_end_of_the_present_step(session: Session, gate: Gate) -> None:
    job = session.start(THREE)
    gate.open(2)
    gate.reached(3)
    session.enable(AttentionSlicing())
    assert active(session) == frozenset()
    assert session.strategy_state.wanted == {AttentionSlicing()}
    assert session.strategy_state.message == "takes effect at step 3 of 3"
    gate.open()
    gate.reached()
    assert active(session) == {AttentionSlicing()}
    gate.open(9)
    job.wait(TIMEOUT)
    [run] = session.run_state.history
    assert [event.text for event in run.trace.events] == ["Attention slicing on"]
    ends = [step.start + step.duration for step in run.trace.steps]
    assert ends[2] <= run.trace.events[0].time <= run.trace.steps[3].start
    assert run.plan == frozenset()
    assert run.used == {AttentionSlicing()}


def test_switches_that_wait_are_done_in_order(session: Session, gate: Gate) -> None:
    job = session.start(THREE)
    gate.reached()
    session.enable(AttentionSlicing(1))
    session.enable(FreeU())
    session.enable(AttentionSlicing())
    session.disable(FreeU)
    assert session.strategy_state.wanted == {AttentionSlicing()}
    gate.open(9)
    job.wait(TIMEOUT)
    assert active(session) == {AttentionSlicing()}


def test_a_refused_switch_says_why_and_lets_the_others_land(session: Session, gate: Gate) -> None:
    job = session.start(THREE)
    gate.reached()
    session.enable(XFormers())
    session.enable(FreeU())
    gate.open()
    gate.reached()
    assert session.strategy_state.is_refused
    assert "XFormers" in session.strategy_state.message
    assert session.strategy_state.wanted == active(session) == {FreeU()}
    gate.open(9)
    job.wait(TIMEOUT)


def test_a_call_in_another_cell_is_seen(session: Session, pipe: Any) -> None:
    pipe.enable_attention_slicing("max")
    assert session.strategy_state.wanted == active(session) == {AttentionSlicing("max")}


def test_a_change_does_not_undo_a_call_that_came_between(
    session: Session, pipe: Any, gate: Gate
) -> None:
    job = session.start(THREE)
    gate.reached()
    session.enable(FreeU())
    pipe.enable_attention_slicing()
    gate.open(9)
    job.wait(TIMEOUT)
    assert active(session) == {FreeU(), AttentionSlicing()}


def test_a_pipeline_that_shares_networks_waits_for_the_other(session: Session) -> None:
    sibling = dpnb.StableDiffusionPipeline.from_pipe(session.pipe)
    steps = sibling.stream("a cat", num_inference_steps=2)
    next(steps)
    session.enable(FreeU())
    assert session.strategy_state.is_refused
    assert active(session) == frozenset()
    del steps
    session.enable(FreeU())
    assert active(session) == {FreeU()}


def test_stop_ends_the_run_after_the_present_step(session: Session, gate: Gate) -> None:
    job = session.start(Request("a red apple", steps=50))
    gate.open(2)
    gate.reached(3)
    session.stop()
    assert session.run_state.phase == "stopping"
    gate.open()
    with pytest.raises(StoppedError):
        job.wait(TIMEOUT)
    [run] = session.run_state.history
    assert run.trace.runs[0].outcome == "left"
    assert len(run.trace.steps) == 3
    assert session.run_state.message.startswith("Stopped after 2 steps")
    session.stop()
    assert session.run_state.phase == "idle"


def test_a_second_run_is_refused_while_one_goes_on(session: Session, gate: Gate) -> None:
    job = session.start(THREE)
    gate.reached()
    with pytest.raises(SessionError, match="going on"):
        session.start(THREE)
    gate.open(20)
    job.wait(TIMEOUT)
    session.start(THREE).wait(TIMEOUT)


def test_an_impossible_request_is_refused_at_once(session: Session) -> None:
    with pytest.raises(ValueError, match="width"):
        session.start(Request("a red apple", width=63))
    assert session.run_state.phase == "idle"
    session.start(THREE).wait(TIMEOUT)


def test_a_scheduler_that_cannot_take_over_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="no scheduler"):
        session.start(Request("a red apple", scheduler="Nothing"))
    session.start(Request("a red apple", steps=1, scheduler="EulerDiscreteScheduler")).wait(TIMEOUT)
    assert type(session.pipe.scheduler).__name__ == "EulerDiscreteScheduler"


def test_an_error_ends_the_run_and_not_the_session(session: Session, gate: Gate) -> None:
    gate.fails_at = (Stage.DENOISING, RuntimeError("the sky fell"))
    job = session.start(THREE)
    gate.open(9)
    with pytest.raises(RuntimeError, match="the sky fell"):
        job.wait(TIMEOUT)
    assert session.run_state.error == "the sky fell"
    assert session.run_state.memory_saver is None
    assert session.run_state.phase == "idle"
    gate.fails_at = None
    gate.open(9)
    session.start(THREE).wait(TIMEOUT)
    assert session.run_state.error == ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.ENCODING])
def test_running_out_of_memory_names_a_switch_for_that_stage(
    session: Session, gate: Gate, stage: Stage
) -> None:
    gate.fails_at = (stage, MemoryError())
    job = session.start(THREE)
    gate.open(9)
    with pytest.raises(MemoryError):
        job.wait(TIMEOUT)
    assert session.run_state.error.startswith("Memory ran out while")
    memory_saver = session.run_state.memory_saver
    assert memory_saver is not None
    assert stage.value in memory_saver.relieves
    session.enable(memory_saver)
    assert memory_saver in active(session)


def test_what_failed_before_it_began_is_said(session: Session) -> None:
    def fail() -> None:
        raise ValueError("no such words")

    job = session.begin(session.make_job(THREE, fail), THREE)
    with pytest.raises(ValueError, match="no such words"):
        job.wait(TIMEOUT)
    wait_for(lambda: session.run_state.phase == "idle")
    assert session.run_state.error == "no such words"
    session.measure_with("tensors")
    session.start(THREE).wait(TIMEOUT)
    assert session.run_state.history[-1].trace.meter == "tensors"


def test_previews_come_while_the_picture_is_drawn(session: Session, gate: Gate) -> None:
    session.run_state.preview_every = 1
    seen: list[bytes] = []
    session.run_state.observe(lambda change: seen.append(change["new"]), "picture")
    job = session.start(THREE)
    gate.open(2)
    wait_for(lambda: bool(seen))
    assert session.run_state.is_preview
    assert session.run_state.progress.total == 3
    gate.open(9)
    job.wait(TIMEOUT)
    assert not session.run_state.is_preview


def test_colours_of_latents_are_learnt_from_the_first_picture(session: Session, gate: Gate) -> None:
    gate.open(5)
    session.start(THREE).wait(TIMEOUT)
    seen: list[bytes] = []
    session.run_state.observe(lambda change: seen.append(change["new"]), "picture")
    job = session.start(THREE)
    gate.open(3)
    wait_for(lambda: bool(seen))
    assert session.run_state.is_preview
    gate.open(9)
    job.wait(TIMEOUT)


def test_waiting_can_have_an_end(session: Session, gate: Gate) -> None:
    job = session.start(THREE)
    with pytest.raises(TimeoutError):
        job.wait(0.01)
    gate.open(9)
    assert job.wait(TIMEOUT).images
    assert job.is_done
    assert job.exception is None


def test_all_users_of_a_pipeline_share_one_session(pipe: Any) -> None:
    one, other = Session.of(pipe), Session.of(pipe)
    assert one is other
    one.close()
    pipe.enable_freeu(0.9, 0.2, 1.5, 1.6)
    assert other.strategy_state.active == pipe.strategies.active != frozenset()
    other.close()
    pipe.disable_freeu()
    assert other.strategy_state.active != frozenset()
    third = Session.of(pipe)
    assert third is not other
    third.close()


def test_only_pipelines_have_sessions() -> None:
    with pytest.raises(TypeError, match="'dpnb/emoji-64' is no pipeline"):
        Session.of("dpnb/emoji-64")


def test_no_thread_outlives_its_run(session: Session) -> None:
    before = set(threading.enumerate())
    session.start(THREE).wait(TIMEOUT)
    wait_for(lambda: before.issuperset(threading.enumerate()))


def wait_for(claim: Any) -> None:
    """Return when `claim` holds."""
    deadline = time.monotonic() + TIMEOUT
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_stop_ends_the_run_of_a_cell_too(session: Session, pipe: Any, gate: Gate) -> None:
    outputs: list[Any] = []
    cell = threading.Thread(target=lambda: outputs.append(pipe("a cat", num_inference_steps=50)))
    cell.start()
    gate.open(3)
    gate.reached(4)
    session.stop()
    gate.open(9)
    cell.join(TIMEOUT)
    [output] = outputs
    [run] = session.run_state.history
    assert run.trace.runs[0].outcome == "interrupted"
    assert list(run.pictures) == output.images


def test_numbers_that_are_none_are_a_failure_with_a_sentence(session: Session, pipe: Any) -> None:
    last = pipe.components["unet"].conv_out
    handle = last.register_forward_hook(lambda *given: given[2] / 0)
    try:
        job = session.start(THREE)
        with pytest.raises(dpnb.NonFiniteError):
            job.wait(TIMEOUT)
    finally:
        handle.remove()
    wait_for(lambda: session.run_state.phase == "idle")
    assert session.run_state.error.startswith("Denoising step 1 of 3 gave NaN or infinity.")
    assert session.run_state.message.startswith("Failed after")
    assert session.run_state.picture == b""
    assert session.run_state.history[-1].trace.runs[0].outcome == "failed"
    session.start(THREE).wait(TIMEOUT)
    assert session.run_state.error == ""
