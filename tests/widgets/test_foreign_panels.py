"""The panels of pipelines that were not written here."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ipywidgets
import pytest
from PIL import Image

import dpnb
from dpnb.widgets.browser_images import count_frames
from dpnb.widgets.dashboard import Dashboard
from dpnb.widgets.job import StoppedError
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request
from tests.pictures import picture
from tests.reference.checkpoints import diffusers, pipeline
from tests.reference.foreign import audio, unconditional, wan
from tests.reference.foreign.case import ForeignCase
from tests.widgets.chosen_files import count_widgets
from tests.widgets.conftest import TIMEOUT, Gate
from tests.widgets.test_session import wait_for

OLD_NUMPY = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
"""What a scheduler of diffusers makes numpy say."""

SHORT = Request("a red apple", steps=3, width=32, height=32)


@pytest.fixture(scope="module")
def tiny() -> Any:
    made = pipeline("sd1")
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def pipe(tiny: Any) -> Iterator[Any]:
    """A pipeline of diffusers that nothing is left behind of."""
    scheduler = tiny.scheduler
    yield tiny
    studio = dpnb.attach(tiny)
    assert list(studio.listeners) == []
    studio.detach()
    tiny.scheduler = scheduler
    ipywidgets.Widget.close_all()


@pytest.fixture
def gate(pipe: Any) -> Iterator[Gate]:
    """Runs that begin from now on wait before every step."""
    gate = Gate()
    leave = dpnb.attach(pipe).watch(gate)
    yield gate
    gate.open(1000)
    leave()


@pytest.fixture
def board(pipe: Any) -> Iterator[Dashboard]:
    board = dpnb.dashboard(pipe, SHORT)
    yield board
    board.close()


def case_of(cases: tuple[ForeignCase, ...], name: str) -> ForeignCase:
    """The case of this name."""
    return next(case for case in cases if case.name == name)


def test_a_session_is_that_of_the_object_and_of_its_instrument(pipe: Any) -> None:
    one, other = Session.of(pipe), Session.of(dpnb.attach(pipe))
    assert one is other
    one.close()
    other.close()


def test_a_click_draws_what_the_pipeline_draws(board: Dashboard, pipe: Any) -> None:
    board.run.generate.click()
    job = board.session.job
    assert job is not None
    output = job.wait(TIMEOUT)
    shown = Image.open(io.BytesIO(board.session.run_state.picture))
    plain = pipe(**board.run.request.arguments(board.session.pipe.call_signature))
    assert shown.tobytes() == output.images[0].tobytes() == plain.images[0].tobytes()
    assert [run.request for run in board.session.run_state.history] == [board.run.request, None]


def test_a_job_computes_in_its_thread_alone(board: Dashboard, pipe: Any) -> None:
    seen: set[threading.Thread] = set()
    hook = pipe.unet.register_forward_pre_hook(lambda *_: seen.add(threading.current_thread()))
    before = set(threading.enumerate())
    board.draw().wait(TIMEOUT)
    hook.remove()
    assert len(seen) == 1
    assert not seen & before


@OLD_NUMPY
def test_the_menu_of_schedulers_follows_the_pipeline(board: Dashboard, pipe: Any) -> None:
    euler = next(one for one in pipe.scheduler.compatibles if one.__name__.startswith("EulerD"))
    pipe.scheduler = euler.from_config(pipe.scheduler.config)
    board.draw().wait(TIMEOUT)
    assert type(pipe.scheduler) is euler
    assert board.run.scheduler.value == board.session.run_state.history[-1].request.scheduler


def test_after_detaching_a_board_says_so(board: Dashboard, pipe: Any) -> None:
    board.session.enable(dpnb.ChannelsLast())
    dpnb.attach(pipe).detach()
    said = "This StableDiffusionPipeline was detached; attach it again with dpnb.attach."
    for strategy in (dpnb.ChannelsLast(), dpnb.ModelOffload()):
        board.session.enable(strategy)
        assert board.session.strategy_state.message == said
        assert board.session.obstacle(strategy) == said
        assert said in board.strategies.message.value
    board.session.disable(dpnb.ChannelsLast)
    assert not board.session.strategy_state.is_refused
    board.run.generate.click()
    assert said in board.run.failure.value
    assert not dpnb.attach(pipe).strategies.obstacle(dpnb.ChannelsLast())


def test_fields_show_the_pipelines_own(pipe: Any) -> None:
    panel = RunPanel(pipe)
    fields = panel.fields
    assert (panel.steps.value, panel.guidance.value) == (50, 7.5)
    assert (panel.width.value, panel.height.value) == (32, 32)
    assert {"eta", "clip_skip", "guidance_rescale"} <= set(fields.more)
    assert panel.request.more == ()
    fields.more["guidance_rescale"].widget.value = 0.5
    fields.more["clip_skip"].widget.value = "1"
    assert dict(panel.request.more) == {"guidance_rescale": 0.5, "clip_skip": 1}
    fields.more["clip_skip"].widget.value = "many"
    panel.generate.click()
    assert "clip_skip is &#x27;many&#x27;; write a whole number" in panel.failure.value
    panel.close()


def test_a_switch_lands_in_the_run_and_stop_ends_it(board: Dashboard, gate: Gate) -> None:
    job = board.draw()
    gate.open(2)
    gate.reached(3)
    board.session.enable(dpnb.ChannelsLast())
    assert not board.session.pipe.strategies.active
    gate.open()
    gate.reached()
    assert board.session.pipe.strategies.active == {dpnb.ChannelsLast()}
    board.session.stop()
    gate.open(1)
    with pytest.raises(StoppedError):
        job.wait(TIMEOUT)
    [run] = board.session.run_state.history
    assert run.trace.runs[0].outcome == "left"
    assert [event.text for event in run.trace.events] == ["Channels last on"]
    assert board.session.run_state.message.startswith("Stopped after")


def test_restoring_brings_back_the_request_and_the_plan(board: Dashboard) -> None:
    board.run.prompt.value, board.run.seed.value = "a fox", 7
    board.run.fields.more["eta"].widget.value = 0.5
    board.session.enable(dpnb.ChannelsLast())
    asked = board.run.request
    board.draw().wait(TIMEOUT)
    board.session.use(frozenset())
    for _ in range(2):
        board.run.prompt.value, board.run.seed.value, board.run.steps.value = "a cat", 1, 9
        board.run.fields.more["eta"].widget.value = 0.0
        board.history.rows[1].restore.click()
        assert replace(board.run.request, scheduler_settings=None) == asked
    assert board.session.pipe.strategies.active == {dpnb.ChannelsLast()}


@OLD_NUMPY
def test_another_scheduler_of_the_same_library_can_take_over(board: Dashboard, pipe: Any) -> None:
    names = [name for _, name in board.run.scheduler.options]
    assert {"DDIMScheduler", "EulerDiscreteScheduler", type(pipe.scheduler).__name__} <= set(names)
    board.run.scheduler.value = "EulerDiscreteScheduler"
    board.draw().wait(TIMEOUT)
    assert type(pipe.scheduler) is diffusers.EulerDiscreteScheduler


def run_code(code: str, pipe: Any) -> dict[str, Any]:
    """What copied code leaves when it runs, given `pipe`."""
    names: dict[str, Any] = {"pipe": pipe}
    exec(code, names)
    return names


@OLD_NUMPY
@pytest.mark.parametrize("count", [1, 2])
def test_the_code_draws_the_same(board: Dashboard, pipe: Any, count: int) -> None:
    board.session.enable(dpnb.ChannelsLast())
    board.run.count.value, board.run.scheduler.value = count, "EulerDiscreteScheduler"
    board.run.fields.more["eta"].widget.value = 0.5
    board.strategies.copy.value = True
    code = board.strategies.python.value
    drawn = board.draw().wait(TIMEOUT).images
    dpnb.attach(pipe).strategies.use([])
    pipe.scheduler = diffusers.DDIMScheduler.from_config(pipe.scheduler.config)
    names = run_code(code, pipe)
    assert names["studio"].strategies.active == {dpnb.ChannelsLast()}
    assert type(pipe.scheduler) is diffusers.EulerDiscreteScheduler
    assert [one.tobytes() for one in names["output"].images] == [one.tobytes() for one in drawn]
    board.run.prompt.value = "a cat"
    assert "prompt='a cat'" in board.strategies.python.value


def test_colours_of_latents_are_learnt_from_the_first_picture(board: Dashboard, gate: Gate) -> None:
    gate.open(1000)
    board.draw().wait(TIMEOUT)
    seen: list[bool] = []
    board.session.run_state.observe(lambda change: seen.append(change["new"]), "is_preview")
    while gate._tickets.acquire(blocking=False):
        pass
    job = board.draw()
    gate.open(3)
    wait_for(lambda: bool(seen))
    assert seen == [True]
    gate.open(9)
    job.wait(TIMEOUT)


def test_pictures_may_be_uploaded(pipe: Any) -> None:
    over = diffusers.StableDiffusionImg2ImgPipeline(
        **pipe.components, requires_safety_checker=False
    )
    over.set_progress_bar_config(disable=True)
    panel = RunPanel(over, Request("a fox", steps=4))
    assert list(panel.picture_fields) == ["image", "ip_adapter_image"]
    assert panel.picture_fields["image"] in panel.fields.words
    assert panel.picture_fields["ip_adapter_image"] in panel.fields.further
    assert not {"width", "height"} & panel.fields.shown
    assert panel.strength is not None
    assert panel.strength.value == 0.8
    panel.set_picture("image", picture(1, 32, 32))
    assert panel.draw().wait(TIMEOUT).images[0].size == (32, 32)
    panel.close()
    dpnb.attach(over).detach()


def test_what_is_no_picture_is_said(board: Dashboard, pipe: Any) -> None:
    pipe(**SHORT.arguments(board.session.pipe.call_signature), output_type="latent")
    assert "latents, 1 × 4 × 16 × 16" in board.run.result.others.value
    assert "<img" not in board.run.picture.value


@pytest.fixture(params=[(wan.CASES, "WanPipeline")], ids=["WanPipeline"])
def film(request: pytest.FixtureRequest) -> Iterator[tuple[RunPanel, Callable[[], dict[str, Any]]]]:
    case = case_of(*request.param)
    panel = RunPanel(case.build())
    yield panel, case.arguments
    panel.close()
    ipywidgets.Widget.close_all()


def asked_for(panel: RunPanel, arguments: dict[str, Any]) -> Request:
    """What a panel asks for with the arguments of a short call."""
    signature = panel.session.pipe.call_signature
    common = {one.name for one in (signature.steps, signature.guidance, signature.count) if one}
    plain = {"prompt", "height", "width", "generator", *common}
    assert signature.steps is not None
    return Request(
        arguments["prompt"],
        steps=arguments[signature.steps.name],
        width=arguments.get("width"),
        height=arguments.get("height"),
        more=tuple((name, value) for name, value in arguments.items() if name not in plain),
    )


def test_a_video_moves_and_its_frames_can_be_looked_at(
    film: tuple[RunPanel, Callable[[], dict[str, Any]]],
) -> None:
    panel, arguments = film
    request = replace(
        asked_for(panel, arguments()), more=(("num_frames", 5), ("max_sequence_length", 24))
    )
    assert "num_frames" in panel.fields.more
    panel.fields.show(request)
    assert panel.request.more == request.more
    panel.draw().wait(TIMEOUT)
    output = panel.session.run_state.output
    assert [count_frames(one) for one in output.animations] == [5]
    assert len(panel.session.run_state.history[-1].pictures) == 3
    assert 'alt="Video of' in panel.picture.value
    assert re.search(r'download="[\w-]+\.webp"', panel.picture.value)
    view = panel.result
    view.frame.value = 4
    assert not view.play.value
    assert 'alt="Frame 4 of' in panel.picture.value
    view.play.value = True
    assert 'alt="Video of' in panel.picture.value


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_a_sound_is_played() -> None:
    case = case_of(audio.CASES, "StableAudioPipeline")
    panel = RunPanel(case.build())
    request = asked_for(panel, case.arguments())
    panel.session.start(request).wait(TIMEOUT)
    assert "<audio controls" in panel.result.others.value
    assert 'href="data:audio/wav;base64,' in panel.result.others.value
    assert "<img" not in panel.picture.value
    panel.close()
    ipywidgets.Widget.close_all()


def test_what_the_call_does_not_take_has_no_field() -> None:
    case = case_of(unconditional.CASES, "DDPMPipeline")
    panel = RunPanel(case.build(), Request("", steps=2))
    assert panel.fields.words == []
    assert panel.fields.shown == {"steps", "seed", "count"}
    panel.count.value = 2
    assert len(panel.draw().wait(TIMEOUT).images) == 2
    panel.close()
    ipywidgets.Widget.close_all()


def test_plans_are_measured_on_what_was_not_written_here(pipe: Any) -> None:
    report = dpnb.sweep(
        pipe,
        [dpnb.ChannelsLast(), dpnb.SequentialOffload(device="simulated:8GiB/s")],
        dpnb.Workload(height=32, width=32, steps=2),
        device="simulated:8GiB/s",
        repeats=1,
        progress=False,
    )
    assert len(report.finished) == 3
    offloaded = report.of(dpnb.SequentialOffload(device="simulated:8GiB/s"))
    assert offloaded.difference == 0
    assert offloaded.peak < report.of().peak


def test_nothing_is_written_that_is_not_closed(pipe: Any) -> None:
    before = count_widgets()
    board = dpnb.dashboard(pipe, SHORT)
    board.draw().wait(TIMEOUT)
    board.close()
    assert count_widgets() == before


def test_what_components_can_do_by_themselves_is_a_switch_there_alone(pipe: Any) -> None:
    panels = [dpnb.StrategyPanel(one) for one in (pipe, dpnb.random_pipeline("tiny-sd"))]
    there, here = ({kind.__name__ for kind in panel.rows} for panel in panels)
    for panel in panels:
        panel.close()
    assert here <= there
    assert there - here == {
        "ComponentFusion",
        "ComponentFreeU",
        "ComponentTiling",
        "ComponentSlicing",
    }


def wait_for_plans(board: Dashboard) -> dpnb.PlanTable:
    """What the plans' panel has found for what the fields say."""
    return board.planner.plan().wait(TIMEOUT)


def test_plans_are_for_what_the_fields_of_a_video_say() -> None:
    film = case_of(wan.CASES, "WanPipeline").build()
    board = dpnb.dashboard(film, SHORT)
    fields = board.run.fields.more
    assert fields["num_frames"].widget.value == 81
    fields["num_frames"].widget.value = 5
    table = wait_for_plans(board)
    assert (table.workload.frames, table.workload.height) == (5, 32)
    assert "5 frames" in board.planner.caption.value
    fields["num_frames"].widget.value = 9
    assert wait_for_plans(board).of().peaks["denoising"] > table.of().peaks["denoising"]
    fields["max_sequence_length"].widget.value = 16
    assert wait_for_plans(board).of().peaks["text"] < table.of().peaks["text"]
    board.close()
    ipywidgets.Widget.close_all()


def test_a_size_that_cannot_be_planned_for_is_a_sentence_that_names_it() -> None:
    board = dpnb.dashboard(case_of(wan.CASES, "WanPipeline").build())
    with pytest.raises(ValueError, match="height=480, width=832, num_frames=81 fails with"):
        wait_for_plans(board)
    assert "give another height, width, frames" in board.planner.message.value
    board.close()
    ipywidgets.Widget.close_all()


def test_plans_alone_have_a_field_for_the_frames() -> None:
    panel = dpnb.PlannerPanel(case_of(wan.CASES, "WanPipeline").build(), SHORT)
    assert panel.frames is not None
    assert panel.workload.frames == panel.frames.value == 81
    panel.frames.value = 5
    assert panel.plan().wait(TIMEOUT).workload.frames == 5
    panel.close()
    still = dpnb.PlannerPanel(dpnb.random_pipeline("tiny-sd"))
    assert still.frames is None
    assert still.workload.frames is None
    still.close()
    ipywidgets.Widget.close_all()
