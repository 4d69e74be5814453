from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

import dpnb
from dpnb.stages import Stage
from dpnb.widgets.browser_images import encode_png
from dpnb.widgets.job import Job
from dpnb.widgets.media_field import MediaField
from dpnb.widgets.run_panel import TINY, RunPanel
from dpnb.widgets.state import TINY_PREVIEW, Request
from tests.pictures import mask, picture
from tests.widgets.chosen_files import choose_files
from tests.widgets.conftest import TIMEOUT, Gate, is_shown
from tests.widgets.decoders import tiny_decoder


@pytest.fixture
def panel(pipe: Any) -> Iterator[RunPanel]:
    panel = RunPanel(pipe, Request("a <red> apple", steps=3))
    yield panel
    panel.close()


def job_of(panel: RunPanel) -> Job:
    assert panel.session.job is not None
    return panel.session.job


def test_the_fields_say_what_is_drawn(panel: RunPanel, pipe: Any) -> None:
    height, width = pipe.default_size()
    panel.negative.value, panel.seed.value, panel.count.value = "blue", 7, 2
    panel.guidance.value = 2.5
    assert panel.request == Request(
        "a <red> apple", "blue", 3, 2.5, width, height, 7, 2, type(pipe.scheduler).__name__
    )


def test_the_menu_of_schedulers_follows_the_pipeline(panel: RunPanel, pipe: Any) -> None:
    pipe.scheduler = euler = dpnb.EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    panel.draw().wait(TIMEOUT)
    assert pipe.scheduler is euler
    assert panel.scheduler.value == "EulerDiscreteScheduler"
    assert panel.session.run_state.history[-1].request.scheduler == "EulerDiscreteScheduler"


def test_a_scheduler_that_was_chosen_stays_until_it_is_drawn_with(
    panel: RunPanel, pipe: Any
) -> None:
    ddim = pipe.scheduler
    panel.scheduler.value = "HeunDiscreteScheduler"
    pipe.scheduler = dpnb.EulerDiscreteScheduler.from_config(ddim.config)
    panel.draw().wait(TIMEOUT)
    assert type(pipe.scheduler).__name__ == panel.scheduler.value == "HeunDiscreteScheduler"
    pipe.scheduler = ddim
    assert panel.request.scheduler == panel.scheduler.value == type(ddim).__name__
    pipe.scheduler = flow = dpnb.FlowMatchEulerDiscreteScheduler()
    panel.scheduler.value = "HeunDiscreteScheduler"
    assert panel.request.scheduler == panel.scheduler.value == type(flow).__name__


def test_all_menus_follow_what_is_drawn_with(panel: RunPanel, pipe: Any) -> None:
    other = RunPanel(pipe)
    panel.scheduler.value = "HeunDiscreteScheduler"
    panel.draw().wait(TIMEOUT)
    assert other.scheduler.value == "HeunDiscreteScheduler"
    other.close()


def test_numbers_are_shown_as_they_were_asked_for(pipe: Any) -> None:
    panel = RunPanel(pipe, Request("a", steps=2, guidance_scale=-2.0, seed=-5))
    assert (panel.guidance.value, panel.seed.value) == (-2.0, -5)
    assert (panel.request.guidance_scale, panel.request.seed) == (-2.0, -5)
    panel.close()


def test_a_click_draws_and_shows_the_picture(panel: RunPanel) -> None:
    assert "Press <b>Generate</b>" in panel.picture.value
    panel.generate.click()
    output = job_of(panel).wait(TIMEOUT)
    shown = Image.open(io.BytesIO(panel.session.run_state.picture))
    assert shown.tobytes() == output.images[0].tobytes()
    assert 'alt="Picture of a &lt;red&gt; apple"' in panel.picture.value
    assert 'download="a-red-apple.png"' in panel.picture.value
    assert "Drawn in" in panel.message.value
    assert not panel.generate.disabled
    assert panel.stop.disabled


def test_a_picture_is_named_after_what_was_asked_for(panel: RunPanel, gate: Gate) -> None:
    panel.session.run_state.preview_every = 1
    seen: list[str] = []
    twin = RunPanel(panel.session.pipe, Request("a boat"))
    twin.picture.observe(lambda change: seen.append(change["new"]), "value")
    panel.draw()
    panel.prompt.value = "a rocket"
    gate.open(1000)
    job_of(panel).wait(TIMEOUT)
    panel.prompt.value = "a banana"
    panel.preview.value = -1
    panel.session.run_state.is_preview = True
    panel.session.run_state.is_preview = False
    for one in (panel, twin):
        assert 'alt="Picture of a &lt;red&gt; apple"' in one.picture.value
        assert 'download="a-red-apple.png"' in one.picture.value
    assert seen
    assert all("of a &lt;red&gt; apple" in text for text in seen)
    twin.close()


def test_a_run_that_fails_leaves_the_picture_before_it_as_it_is(
    panel: RunPanel, gate: Gate
) -> None:
    gate.open(1000)
    panel.draw().wait(TIMEOUT)
    shown = panel.picture.value
    gate.fails_at = (Stage.TEXT, LookupError("no such word"))
    panel.prompt.value = "a banana"
    with pytest.raises(LookupError):
        panel.draw().wait(TIMEOUT)
    assert panel.picture.value == shown


def test_the_picture_of_a_cell_has_no_prompt_of_the_panel(panel: RunPanel, pipe: Any) -> None:
    pipe("a cat", num_inference_steps=1)
    assert 'alt="Picture of what a cell asked for"' in panel.picture.value
    assert "apple" not in panel.picture.value


def test_several_pictures_are_shown_as_one_sheet(panel: RunPanel, pipe: Any) -> None:
    panel.count.value = 3
    panel.draw().wait(TIMEOUT)
    height, width = pipe.default_size()
    assert Image.open(io.BytesIO(panel.session.run_state.picture)).size == (2 * width, 2 * height)
    assert len(panel.session.run_state.pictures) == 3


def test_pictures_of_one_run_are_those_of_the_seeds_that_follow(panel: RunPanel) -> None:
    panel.count.value = 2
    [_, second] = panel.draw().wait(TIMEOUT).images
    panel.count.value, panel.seed.value = 1, 1
    [alone] = panel.draw().wait(TIMEOUT).images
    assert max(abs(a - b) for a, b in zip(second.tobytes(), alone.tobytes(), strict=True)) <= 2


def test_progress_is_shown_and_stop_stops(panel: RunPanel, gate: Gate) -> None:
    panel.steps.value = 50
    panel.generate.click()
    gate.open(3)
    gate.reached(4)
    assert panel.generate.description == "Add to queue"
    assert not panel.stop.disabled
    assert 'role="progressbar"' in panel.progress.value
    panel.stop.click()
    assert panel.stop.disabled
    assert "Stopping after this step" in panel.progress.value
    gate.open(9)
    with pytest.raises(RuntimeError, match="stopped"):
        job_of(panel).wait(TIMEOUT)
    assert "Stopped after 3 steps" in panel.message.value
    assert panel.progress.value == ""
    assert panel.stop.disabled
    assert panel.generate.description == "Generate"


def test_a_mistake_is_a_sentence_and_the_next_click_works(panel: RunPanel) -> None:
    panel.prompt.value = "a red apple"
    panel.width.value = 60
    panel.generate.click()
    assert 'role="alert"' in panel.failure.value
    assert "60" in panel.failure.value
    panel.width.value = 64
    panel.generate.click()
    job_of(panel).wait(TIMEOUT)
    assert panel.failure.value == ""


def test_one_click_mends_a_run_that_ran_out_of_memory(
    panel: RunPanel, pipe: Any, gate: Gate
) -> None:
    gate.fails_at = (Stage.DENOISING, MemoryError("no memory left"))
    gate.open(2)
    panel.generate.click()
    with pytest.raises(MemoryError):
        job_of(panel).wait(TIMEOUT)
    assert "Memory ran out while the picture was denoised" in panel.failure.value
    assert is_shown(panel.memory_saver)
    assert panel.memory_saver.description.startswith("Switch on ")
    gate.fails_at = None
    gate.open(20)
    failed, panel.prompt.value = panel.request, "something else"
    panel.session.forget_runs({run.number for run in panel.session.run_state.history})
    panel.memory_saver.click()
    assert job_of(panel).wait(TIMEOUT).images
    [strategy] = pipe.strategies.active
    assert "denoising" in strategy.relieves
    assert panel.session.run_state.history[-1].request == failed
    assert panel.session.run_state.failed is None
    assert not is_shown(panel.memory_saver)
    assert panel.failure.value == ""


def test_the_die_gives_another_seed(panel: RunPanel) -> None:
    panel.new_seed.click()
    first = panel.seed.value
    panel.new_seed.click()
    assert len({0, first, panel.seed.value}) == 3


def test_the_scheduler_can_be_chosen(panel: RunPanel, pipe: Any) -> None:
    panel.scheduler.value = "DPMSolverMultistepScheduler"
    panel.draw().wait(TIMEOUT)
    assert type(pipe.scheduler).__name__ == "DPMSolverMultistepScheduler"


def test_two_panels_show_the_same_run(panel: RunPanel, pipe: Any) -> None:
    twin = RunPanel(pipe)
    panel.draw().wait(TIMEOUT)
    assert "Picture of" in twin.picture.value
    panel.preview.value = -1
    assert twin.preview.value == -1
    twin.close()


@pytest.fixture
def editing(pipe: Any) -> Iterator[RunPanel]:
    over = dpnb.StableDiffusionInpaintPipeline.from_pipe(pipe)
    over.set_progress_bar_config(disable=True)
    panel = RunPanel(over, Request("a fox", steps=2))
    yield panel
    panel.close()


def upload(field: MediaField, name: str, content: bytes) -> None:
    """Do what a browser does once a file was chosen."""
    choose_files(field.upload, (name, content))


def test_a_pipeline_that_draws_from_words_asks_for_no_picture(panel: RunPanel) -> None:
    assert panel.picture_fields == {}
    assert panel.strength is None
    with pytest.raises(ValueError, match=r"image is no picture that this pipeline takes; .* none"):
        panel.set_picture("image", picture())


def test_pictures_are_uploaded_and_drawn_from(editing: RunPanel) -> None:
    assert list(editing.picture_fields) == ["image", "mask_image"]
    assert editing.strength is not None
    assert editing.strength.value == 1.0
    for name, given in (("image", picture(1, 32, 64)), ("mask_image", mask(32, 64))):
        assert "<img" not in editing.picture_fields[name].shown.value
        upload(editing.picture_fields[name], f"{name}.png", encode_png(given))
        assert "<img" in editing.picture_fields[name].shown.value
    assert (editing.height.value, editing.width.value) == (16, 40)
    [drawn] = editing.draw().wait(TIMEOUT).images
    assert drawn.size == (40, 16)
    assert dict(editing.request.pictures).keys() == {"image", "mask_image"}
    assert editing.session.run_state.trace is not None
    assert "encoding" in editing.session.run_state.trace.by_stage()


def test_a_missing_picture_and_a_file_that_is_none_are_sentences(editing: RunPanel) -> None:
    editing.generate.click()
    assert "First choose the picture to begin with." in editing.failure.value
    editing.set_picture("image", picture())
    editing.generate.click()
    assert "First choose a mask, white where to draw anew." in editing.failure.value
    upload(editing.picture_fields["image"], "notes.txt", b"no picture")
    assert "notes.txt is no picture that can be read" in editing.picture_fields["image"].shown.value
    assert editing.picture_fields["image"].picture is not None


def test_a_request_may_bring_its_pictures(pipe: Any) -> None:
    over = dpnb.StableDiffusionImg2ImgPipeline.from_pipe(pipe)
    request = Request("a", pictures=(("image", picture()),), strength=0.5, width=32, height=24)
    panel = RunPanel(over, request)
    assert panel.request.pictures == request.pictures
    assert panel.request.strength == 0.5
    assert (panel.width.value, panel.height.value) == (32, 24)
    panel.close()


def test_a_tiny_decoder_that_is_given_can_be_chosen_and_taken_back(panel: RunPanel) -> None:
    twin, state = RunPanel(panel.session.pipe), panel.session.run_state
    state.preview_every = 5
    panel.preview_decoder = tiny_decoder()
    for one in (panel, twin):
        assert one.preview_decoder is state.preview_decoder
        assert TINY in one.preview.options
        assert one.preview.value == state.preview_every == 5
    twin.preview.value = TINY_PREVIEW
    assert panel.preview.value == state.preview_every == TINY_PREVIEW
    panel.preview_decoder = None
    for one in (panel, twin):
        assert TINY not in one.preview.options
        assert one.preview.value == state.preview_every == 0
    twin.close()


def test_what_is_no_tiny_decoder_is_refused(panel: RunPanel) -> None:
    with pytest.raises(TypeError, match="preview_decoder is a str; give an AutoencoderTiny"):
        panel.preview_decoder = "taesd"
    assert panel.preview_decoder is None


def test_a_tiny_autoencoder_of_the_pipeline_can_be_chosen_at_once(panel: RunPanel) -> None:
    pipe: Any = panel.session.pipe
    former, pipe.vae = pipe.vae, tiny_decoder()
    twin = RunPanel(pipe)
    assert TINY in twin.preview.options
    twin.close()
    pipe.vae = former
