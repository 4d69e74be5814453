"""Previews show what a picture is going to be, and cost nothing where nobody looks."""

from __future__ import annotations

import gc
import io
import time
from collections.abc import Iterator
from typing import Any, ClassVar
from weakref import ref

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import override

import dpnb
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import Foresee, RunListener
from dpnb.schedulers.scheduler import Timestep
from dpnb.stages import Stage, Step
from dpnb.strategies.strategy import Strategy
from dpnb.widgets.latent_previews import LatentPreviews
from dpnb.widgets.preview_decoder import decode_small
from dpnb.widgets.run_progress import TICK
from dpnb.widgets.session import Session
from dpnb.widgets.state import NO_PREVIEW, TINY_PREVIEW, Request
from tests.reference.checkpoints import pipeline
from tests.widgets.conftest import TIMEOUT, Gate
from tests.widgets.decoders import tiny_decoder
from tests.widgets.test_session import wait_for

THREE = Request("a red apple", steps=3)
STEPS_OF_THREE = 5
SIMULATED = "simulated:8GiB/s"


class Notes(RunListener[Run]):
    """Keeps what each denoising step is, and what it is going to become."""

    def __init__(self) -> None:
        self.originals: list[Tensor] = []
        self.latents: list[Tensor] = []

    @override
    def after_prediction(self, run: Run, index: int, foresee: Foresee) -> None:
        original = foresee()
        assert original is not None
        self.originals.append(original)

    @override
    def end_step(self, run: Run, step: Step) -> None:
        if step.stage is Stage.DENOISING and step.latents is not None:
            self.latents.append(step.latents)


@pytest.fixture
def notes(pipe: Any) -> Iterator[Notes]:
    notes = Notes()
    leave = pipe.watch(notes)
    yield notes
    leave()


def first_preview(session: Session, gate: Gate) -> Image.Image:
    """What is shown after the first step of a run, which then comes to its end."""
    seen: list[bytes] = []
    session.run_state.observe(lambda change: seen.append(change["new"]), "picture")
    job = session.start(THREE)
    gate.open(2)
    wait_for(lambda: bool(seen))
    assert session.run_state.is_preview
    gate.open(STEPS_OF_THREE)
    job.wait(TIMEOUT)
    return Image.open(io.BytesIO(seen[0]))


def are_equal(one: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(one), np.asarray(other))


def test_what_a_step_predicts_is_decoded(
    session: Session, pipe: Any, gate: Gate, notes: Notes
) -> None:
    session.run_state.preview_every = 1
    shown = first_preview(session, gate)
    assert are_equal(shown, pipe.preview(notes.originals[0])[0])
    assert not are_equal(shown, pipe.preview(notes.latents[0])[0])


def test_what_a_step_predicts_is_painted_with_the_colours_of_last_latents(
    session: Session, gate: Gate, notes: Notes
) -> None:
    gate.open(STEPS_OF_THREE)
    output = session.start(THREE).wait(TIMEOUT)
    colours = LatentPreviews(None)
    colours.learn(notes.latents[-1], output.images)
    notes.originals.clear()
    shown = first_preview(session, gate)
    expected = colours.paint(notes.originals[0], (1, 1))
    assert expected is not None
    assert are_equal(shown, expected[0])


def test_what_a_step_predicts_is_decoded_by_a_tiny_decoder(
    session: Session, gate: Gate, notes: Notes
) -> None:
    decoder = tiny_decoder()
    session.run_state.preview_decoder, session.run_state.preview_every = decoder, TINY_PREVIEW
    shown = first_preview(session, gate)
    expected = decode_small(decoder, notes.originals[0], (1, 1))
    assert expected is not None
    assert are_equal(shown, expected[0])


class AskedScheduler(dpnb.DDIMScheduler):
    """Knows what it was asked to predict, as long as that is kept."""

    made: ClassVar[list[ref[Tensor]]]

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        original = super().predict_original_sample(model_output, timestep, sample)
        self.made.append(ref(original))
        return original


@pytest.fixture
def asked(pipe: Any) -> type[AskedScheduler]:
    """The scheduler of a pipeline that nobody has asked yet."""
    AskedScheduler.made = []
    pipe.scheduler = AskedScheduler.from_config(pipe.scheduler.config)
    return AskedScheduler


@pytest.mark.parametrize(("every", "count"), [(NO_PREVIEW, 0), (0, 0), (5, 0), (2, 1), (1, 3)])
def test_nothing_is_predicted_that_is_not_shown(
    session: Session, asked: type[AskedScheduler], every: int, count: int
) -> None:
    """Colours are not known before the first picture."""
    session.run_state.preview_every = every
    session.start(THREE).wait(TIMEOUT)
    assert len(asked.made) == count


def test_five_previews_are_computed_in_a_second_at_most(
    session: Session, asked: type[AskedScheduler]
) -> None:
    session.start(THREE).wait(TIMEOUT)
    assert asked.made == []
    begun = time.monotonic()
    session.start(Request("a red apple", steps=100)).wait(TIMEOUT)
    passed = time.monotonic() - begun
    assert 1 <= len(asked.made) <= passed / TICK + 1 < 100


@pytest.mark.parametrize("every", [0, 1])
def test_nothing_is_kept_once_a_run_is_over(
    session: Session, asked: type[AskedScheduler], every: int
) -> None:
    session.start(THREE).wait(TIMEOUT)
    session.run_state.preview_every = every
    session.start(THREE).wait(TIMEOUT)
    gc.collect()
    assert asked.made
    assert [made() for made in asked.made] == [None] * len(asked.made)


STRATEGIES: tuple[Strategy, ...] = (
    dpnb.AttentionSlicing(),
    dpnb.ConditioningCache(),
    dpnb.LayerwiseCasting(),
    dpnb.ModelOffload(device=SIMULATED),
    dpnb.SequentialOffload(device=SIMULATED),
    dpnb.VaeSlicing(),
    dpnb.VaeTiling(),
)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_decoded_previews_change_no_picture_and_no_switch(
    session: Session, pipe: Any, strategy: Strategy
) -> None:
    def draw() -> Tensor:
        output = session.start(THREE).wait(TIMEOUT)
        return torch.from_numpy(np.array(output.images[0]))

    before = {name: type(part) for name, part in pipe.parts().items()}
    session.run_state.preview_every = NO_PREVIEW
    session.enable(strategy)
    plain = draw()
    for every in (1, TINY_PREVIEW, NO_PREVIEW):
        session.run_state.preview_decoder = tiny_decoder()
        session.run_state.preview_every = every
        assert torch.equal(draw(), plain)
        assert pipe.strategies.active == {strategy}
    session.use(frozenset())
    assert {name: type(part) for name, part in pipe.parts().items()} == before
    session.run_state.preview_every = 1
    draw()
    assert session.run_state.error == ""


def test_a_preview_that_fails_ends_no_run(
    session: Session, pipe: Any, caplog: pytest.LogCaptureFixture
) -> None:
    session.run_state.preview_decoder = tiny_decoder().to("meta")
    session.run_state.preview_every = TINY_PREVIEW
    assert session.start(THREE).wait(TIMEOUT).images
    assert "its preview cannot be decoded" in caplog.text


def test_the_runs_of_a_pipeline_of_diffusers_are_previewed_by_its_scheduler() -> None:
    pipe = pipeline("sd1")
    session, notes, gate = Session.of(pipe), Notes(), Gate()
    leaves = [session.pipe.watch(listener) for listener in (notes, gate)]
    decoder = tiny_decoder(diffusers)
    session.run_state.preview_decoder, session.run_state.preview_every = decoder, TINY_PREVIEW
    shown = first_preview(session, gate)
    expected, noisy = (
        decode_small(decoder, one, (1, 1)) for one in (notes.originals[0], notes.latents[0])
    )
    assert expected is not None
    assert noisy is not None
    assert are_equal(shown, expected[0])
    assert not are_equal(shown, noisy[0])
    for leave in leaves:
        leave()
    session.close()
    dpnb.attach(pipe).detach()
