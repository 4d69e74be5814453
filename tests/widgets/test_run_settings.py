from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

import dpnb
from dpnb.pipelines.settings.picture_settings import PROGRAM, PictureSettings
from dpnb.pipelines.settings.scheduler_settings import describe_scheduler
from dpnb.stages import Stage
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.vae import VaeSlicing
from dpnb.widgets.job import StoppedError
from dpnb.widgets.run_settings import (
    describe_request,
    list_picture_settings,
    list_seeds,
    make_request,
    try_to_describe_run,
)
from dpnb.widgets.session import Session
from dpnb.widgets.state import FinishedRun, Request
from tests.widgets.conftest import TIMEOUT, Gate

ASKED = Request("a fox", "blue", 3, 4.5, 32, 32, seed=7)


def run(session: Session, request: Request) -> FinishedRun:
    session.start(request).wait(TIMEOUT)
    done: FinishedRun = session.run_state.history[-1]
    return done


def test_a_picture_of_a_run_is_drawn_again_from_its_settings(session: Session) -> None:
    done = run(session, replace(ASKED, scheduler="EulerAncestralDiscreteScheduler"))
    (settings,) = list_picture_settings(done)
    assert settings is not None
    assert settings.scheduler == "EulerAncestralDiscreteScheduler"
    assert settings.draw(session.pipe).tobytes() == done.pictures[0].tobytes()
    assert settings.seconds == done.trace.runs[0].duration
    assert settings.peak == done.trace.peak
    assert settings.version == PROGRAM


def test_each_picture_of_a_batch_has_its_seed(session: Session) -> None:
    done = run(session, replace(ASKED, count=3))
    assert list_seeds(done) == (7, 8, 9)
    third = list_picture_settings(done)[2]
    assert third is not None
    alone = run(session, make_request(third, session.pipe))
    assert largest_gap(alone.pictures[0], done.pictures[2]) <= 1


def largest_gap(one: Image.Image, other: Image.Image) -> int:
    pairs = zip(one.tobytes(), other.tobytes(), strict=True)
    return max(abs(a - b) for a, b in pairs)


def test_each_of_several_prompts_has_its_words(session: Session) -> None:
    more = (("prompt", ["a", "b"]), ("negative_prompt", ["c", "d"]))
    done = run(session, replace(ASKED, prompt="", negative_prompt="", count=2, more=more))
    found = [one for one in list_picture_settings(done) if one is not None]
    assert [one.prompt for one in found] == ["a", "a", "b", "b"]
    assert [one.negative_prompt for one in found] == ["c", "c", "d", "d"]
    assert [one.seed for one in found] == [7, 8, 9, 10]
    assert found[3].more == {}
    assert largest_gap(found[3].draw(session.pipe), done.pictures[3]) <= 1


def test_what_is_switched_on_the_way_is_kept_with_its_step(session: Session, gate: Gate) -> None:
    session.use(frozenset({VaeSlicing()}))
    job = session.start(ASKED)
    gate.open(2)
    gate.reached(3)
    session.change(lambda plan: plan | {FreeU()})
    gate.open(1000)
    job.wait(TIMEOUT)
    done = session.run_state.history[-1]
    begin, later = done.plans
    assert (begin.step, begin.plan) == (0, {VaeSlicing()})
    assert later.plan == {VaeSlicing(), FreeU()}
    assert later.step == 3
    (settings,) = list_picture_settings(done)
    assert settings is not None
    assert settings.draw(session.pipe).tobytes() == done.pictures[0].tobytes()


def test_a_run_of_a_cell_has_no_settings(session: Session) -> None:
    session.pipe.make_run(prompt="a", num_inference_steps=1, width=32, height=32)()
    done = session.run_state.history[-1]
    assert list_picture_settings(done) == (None,)
    assert list_seeds(done) == (None,)
    assert done.weights is not None
    assert done.weights > 0


def test_a_stopped_run_has_no_pictures_and_no_settings(session: Session, gate: Gate) -> None:
    job = session.start(ASKED)
    gate.open()
    gate.reached(2)
    session.stop()
    gate.open(1000)
    with pytest.raises(StoppedError):
        job.wait(TIMEOUT)
    assert list_picture_settings(session.run_state.history[-1]) == ()


def test_what_is_not_given_is_the_pipelines_own(pipe: Any) -> None:
    settings = describe_request(pipe, Request("a"))
    height, width = pipe.default_size()
    assert (settings.width, settings.height) == (width, height)
    assert (settings.steps, settings.guidance_scale) == (50, 7.5)
    assert settings.pipeline == "StableDiffusionPipeline"


def test_pictures_are_named_as_missing() -> None:
    base: Any = dpnb.random_pipeline("tiny-sd")
    pipe: Any = dpnb.StableDiffusionImg2ImgPipeline.from_pipe(base)
    picture = Image.new("RGB", (32, 32))
    request = Request("a", steps=2, pictures=(("image", picture),), more=(("eta", 0.5),))
    settings = describe_request(pipe, request)
    assert (settings.missing, settings.more) == (("image",), {"eta": 0.5})
    assert (settings.width, settings.height) == (None, None)
    drawn = pipe(**request.arguments(pipe.call_signature)).images[0]
    assert settings.draw(pipe, image=picture).tobytes() == drawn.tobytes()


def test_settings_become_the_request_that_they_were_made_of(pipe: Any) -> None:
    asked = replace(ASKED, more=(("eta", 0.5),), scheduler="DDIMScheduler")
    settings = replace(describe_request(pipe, asked), scheduler="DDIMScheduler")
    again = make_request(settings, pipe)
    assert again == make_request(settings)
    assert dict(again.scheduler_settings or ()) == describe_scheduler(pipe.scheduler)[1]
    assert replace(again, scheduler_settings=None) == asked


def test_what_a_pipeline_cannot_take_is_left_out_of_a_request(pipe: Any) -> None:
    foreign = PictureSettings(
        "a", scheduler="DPMSolverSDEScheduler", more={"eta": 0.1, "unheard": 1}
    )
    assert make_request(foreign, pipe) == Request("a", more=(("eta", 0.1),))
    assert dict(make_request(foreign).more) == {"eta": 0.1, "unheard": 1}


class Unreadable:
    """A scheduler whose settings nobody can read."""

    @property
    def config(self) -> dict[str, Any]:
        raise RuntimeError("no settings")


def test_a_run_does_not_fail_over_what_is_said_of_it(
    pipe: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pipe.scheduler = Unreadable()
    assert try_to_describe_run(pipe, Request("a")) == (None, None, None)
    assert "what it is drawn with cannot be told" in caplog.text


def test_an_exact_switch_keeps_the_picture_of_the_settings(session: Session) -> None:
    session.use(frozenset({QKVFusion()}))
    done = run(session, ASKED)
    assert done.plans[0].plan == {QKVFusion()}
    assert [step.stage for step in done.trace.steps][-1] is Stage.DECODING
