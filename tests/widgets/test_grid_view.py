"""Grids that are drawn from a panel."""

from __future__ import annotations

import base64
import io
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

import dpnb
from dpnb.pipelines.settings.picture_files import encode_with_settings
from dpnb.pipelines.settings.picture_settings import PictureSettings
from dpnb.pipelines.settings.scheduler_settings import describe_scheduler
from dpnb.stages import Stage
from dpnb.widgets.history_panel import HistoryPanel
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT, Gate
from tests.widgets.test_session import wait_for

REQUEST = Request("a red apple", steps=1, width=32, height=32)


@pytest.fixture
def panel(pipe: Any) -> Iterator[RunPanel]:
    panel = RunPanel(pipe, REQUEST)
    yield panel
    panel.close()


def choose(panel: RunPanel, *axes: tuple[str, str]) -> None:
    for place, (axis, values) in enumerate(axes):
        panel.grid.axes[place].value = axis
        panel.grid.values[place].value = values


def draw(panel: RunPanel) -> None:
    """Draw the grid, to its end."""
    panel.grid.button.click()
    wait_for_grid(panel)


def wait_for_grid(panel: RunPanel) -> None:
    """Return when nothing is drawn any more."""
    while panel.session.is_drawing or panel.session.run_state.queue:
        assert panel.session.job is not None
        panel.session.job.wait(TIMEOUT)


def test_two_things_vary(panel: RunPanel) -> None:
    choose(panel, ("seed", "3, 4"), ("scheduler", "DDIM, Euler"))
    draw(panel)
    runs = panel.session.run_state.history
    asked = [(run.request.seed, run.request.scheduler) for run in runs]
    euler, ddim = "EulerDiscreteScheduler", "DDIMScheduler"
    assert asked == [(3, ddim), (3, euler), (4, ddim), (4, euler)]
    assert "4 of 4 pictures are drawn" in panel.grid.message.value
    found = re.search(r'src="data:image/png;base64,([^"]+)"', panel.grid.sheet.value)
    assert found is not None
    sheet = Image.open(io.BytesIO(base64.b64decode(found[1])))
    assert min(sheet.size) > 64


def test_a_switch_varies_and_what_was_on_comes_back(panel: RunPanel, pipe: Any) -> None:
    pipe.strategies.use([dpnb.AttentionSlicing()])
    choose(panel, ("FreeU: s1", "off, 0.5, 0.9"))
    draw(panel)
    plans = [run.plan for run in panel.session.run_state.history]
    slicing = dpnb.AttentionSlicing()
    assert plans == [
        {slicing},
        {slicing, dpnb.FreeU(s1=0.5)},
        {slicing, dpnb.FreeU(s1=0.9)},
    ]
    assert pipe.strategies.active == {slicing}


def test_the_scheduler_is_the_former_one_after_a_grid_of_them(panel: RunPanel, pipe: Any) -> None:
    before = pipe.scheduler
    choose(panel, ("scheduler", "DDIM, Euler"))
    draw(panel)
    assert pipe.scheduler is before
    assert panel.request.scheduler == type(before).__name__


def test_what_is_switched_while_a_grid_is_drawn_stays(
    panel: RunPanel, pipe: Any, gate: Gate
) -> None:
    choose(panel, ("FreeU", "off, on"))
    panel.grid.button.click()
    gate.reached()
    panel.session.enable(dpnb.AttentionSlicing())
    gate.open(100)
    wait_for_grid(panel)
    plans = [run.plan for run in panel.session.run_state.history]
    assert plans == [frozenset(), {dpnb.FreeU()}]
    assert pipe.strategies.active == {dpnb.AttentionSlicing()}


def test_stopping_the_last_cell_ends_the_grid(panel: RunPanel, pipe: Any, gate: Gate) -> None:
    pipe.strategies.use([dpnb.AttentionSlicing()])
    choose(panel, ("FreeU", "off, on"))
    gate.open(3)
    panel.grid.button.click()
    gate.reached(4)
    assert {dpnb.AttentionSlicing(), dpnb.FreeU()} == pipe.strategies.active
    panel.session.stop()
    gate.open(100)
    assert panel.session.job is not None
    with pytest.raises(RuntimeError):
        panel.session.job.wait(TIMEOUT)
    assert pipe.strategies.active == {dpnb.AttentionSlicing()}
    assert "1 of 2 pictures are drawn" in panel.grid.message.value
    assert "dpnb-wait" not in panel.grid.message.value


def test_a_grid_of_which_nothing_is_drawn_ends_too(panel: RunPanel, pipe: Any, gate: Gate) -> None:
    choose(panel, ("FreeU", "on"))
    gate.fails_at = Stage.TEXT, MemoryError("no room")
    gate.open(100)
    panel.grid.button.click()
    assert panel.session.job is not None
    with pytest.raises(MemoryError):
        panel.session.job.wait(TIMEOUT)
    assert pipe.strategies.active == frozenset()
    assert "0 of 1 pictures are drawn" in panel.grid.message.value
    assert "dpnb-wait" not in panel.grid.message.value


def test_values_to_begin_with_can_be_drawn(panel: RunPanel) -> None:
    for axis in ("seed", "guidance_scale", "steps", "scheduler", "FreeU", "VAE tiling"):
        panel.grid.axes[0].value = axis
        assert panel.grid.values[0].value
        assert panel.grid.arguments


@pytest.mark.parametrize(
    ("axes", "words"),
    [
        ([], "Choose what varies"),
        ([("seed", "1"), ("seed", "2")], "two different things"),
        ([("FreeU", "on"), ("VAE tiling", "on")], "one may be a switch"),
        ([("seed", "one")], "seed is"),
        ([("seed", "")], "seed is an empty list"),
        ([("scheduler", "Nothing")], "Nothing"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(
    panel: RunPanel, axes: list[tuple[str, str]], words: str
) -> None:
    choose(panel, *axes)
    panel.grid.button.click()
    assert words in panel.grid.message.value
    assert 'role="alert"' in panel.grid.message.value
    assert panel.session.run_state.queue == ()


def saved(panel: RunPanel) -> list[bytes]:
    """The files that the links below pictures save."""
    links = re.findall(r'href="data:image/png;base64,([^"]+)"', panel.picture.value)
    return [base64.b64decode(link) for link in links]


def test_saved_pictures_carry_their_settings(panel: RunPanel, pipe: Any) -> None:
    panel.count.value, panel.seed.value = 2, 5
    panel.draw().wait(TIMEOUT)
    files = saved(panel)
    assert [dpnb.read_settings(file).seed for file in files] == [5, 6]
    assert "seed 5" in panel.picture.value
    parameters = Image.open(io.BytesIO(files[1])).info["parameters"]
    assert "Seed: 6" in parameters
    panel.prompt.value = "a banana"
    assert dpnb.read_settings(saved(panel)[0]).prompt == "a red apple"


def test_a_picture_brings_its_settings_back(panel: RunPanel, pipe: Any) -> None:
    pipe.strategies.use([dpnb.FreeU()])
    panel.seed.value, panel.steps.value = 9, 2
    panel.draw().wait(TIMEOUT)
    [file] = saved(panel)
    pipe.strategies.use([])
    panel.seed.value, panel.prompt.value = 1, "a banana"
    panel.settings_file.read("apple.png", file)
    assert (panel.prompt.value, panel.seed.value, panel.steps.value) == ("a red apple", 9, 2)
    assert pipe.strategies.active == {dpnb.FreeU()}
    assert "what apple.png was drawn with" in panel.settings_file.message.value


def test_a_dropped_picture_brings_its_settings_back(panel: RunPanel) -> None:
    panel.seed.value = 9
    panel.draw().wait(TIMEOUT)
    [file] = saved(panel)
    panel.seed.value = 1
    dropped = panel.settings_file.dropped
    dropped.value = f"apple.png\ndata:image/png;base64,{base64.b64encode(file).decode()}"
    assert panel.seed.value == 9
    assert dropped.value == ""
    dropped.value = "broken.png\ndata:image/png;base64,%%%"
    assert "broken.png" in panel.settings_file.message.value
    assert 'role="alert"' in panel.settings_file.message.value


def test_settings_of_other_programs_are_read(panel: RunPanel, pipe: Any) -> None:
    info = "a cat\nNegative prompt: fur\nSteps: 3, Sampler: Euler, Schedule type: Karras, Seed: 4"
    content = io.BytesIO()
    from PIL.PngImagePlugin import PngInfo

    texts = PngInfo()
    texts.add_text("parameters", info)
    Image.new("RGB", (8, 8)).save(content, "PNG", pnginfo=texts)
    panel.settings_file.read("cat.png", content.getvalue())
    assert (panel.prompt.value, panel.negative.value, panel.steps.value) == ("a cat", "fur", 3)
    panel.draw().wait(TIMEOUT)
    assert type(pipe.scheduler).__name__ == "EulerDiscreteScheduler"
    assert pipe.scheduler.config.use_karras_sigmas


def test_what_a_picture_says_in_vain_is_said(panel: RunPanel, pipe: Any) -> None:
    settings = PictureSettings(
        "cat", steps=2, guidance_scale=-2.0, seed=-5, scheduler="FlowMatchHeunDiscreteScheduler",
        missing=("image",), model="other/model", more={"foo_scale": 3},
    )  # fmt: skip
    panel.settings_file.read("cat.png", encode_with_settings(Image.new("RGB", (64, 32)), settings))
    asked = panel.request
    assert (asked.guidance_scale, asked.seed, asked.steps) == (-2.0, -5, 2)
    assert panel.settings_file.message.value.partition(">")[2].removesuffix("</div>") == (
        "The fields say what cat.png was drawn with, but not all of it. Its "
        "FlowMatchHeunDiscreteScheduler cannot take over here; DDIMScheduler stays. foo_scale: "
        "this pipeline does not take that. image: no file keeps that; give it anew. It was drawn "
        "with other/model; here is a model without a name."
    )


def test_a_picture_says_what_its_scheduler_was_set_to(
    panel: RunPanel, pipe: Any, gate: Gate
) -> None:
    plain, kind = PictureSettings("a", steps=2, seed=1), dpnb.EulerDiscreteScheduler
    pipe.scheduler = kind(use_karras_sigmas=True)
    panel.draw()
    whole = replace(plain, scheduler=kind.__name__, is_scheduler_whole=True)
    for given in ({}, {"timestep_spacing": "trailing"}):
        content = Image.new("RGB", (32, 32))
        settings = replace(whole, scheduler_settings=given)
        panel.settings_file.read("a.png", encode_with_settings(content, settings))
        assert pipe.scheduler.config.use_karras_sigmas
        job = panel.draw()
        gate.open(100)
        job.wait(TIMEOUT)
        assert describe_scheduler(pipe.scheduler) == (kind.__name__, given)
        pipe.scheduler = kind(use_karras_sigmas=True)


def test_a_grid_is_drawn_with_what_a_scheduler_is_to_be_set_to(panel: RunPanel, pipe: Any) -> None:
    settings = (("beta_schedule", "scaled_linear"), ("timestep_spacing", "trailing"))
    name = type(pipe.scheduler).__name__
    panel.session.restore(replace(REQUEST, scheduler=name, scheduler_settings=settings))
    choose(panel, ("seed", "0, 1"))
    draw(panel)
    for run in panel.session.run_state.history:
        assert run.settings is not None
        assert run.settings.scheduler_settings == dict(settings)


def test_a_picture_without_settings_is_refused(panel: RunPanel) -> None:
    content = io.BytesIO()
    Image.new("RGB", (8, 8)).save(content, "PNG")
    panel.settings_file.read("plain.png", content.getvalue())
    assert "plain.png" in panel.settings_file.message.value
    assert 'role="alert"' in panel.settings_file.message.value
    assert panel.prompt.value == "a red apple"


def test_runs_are_written_as_files(panel: RunPanel, pipe: Any) -> None:
    history = HistoryPanel(pipe)
    for seed in (1, 2):
        panel.seed.value = seed
        panel.draw().wait(TIMEOUT)
    history.rows[1].select.value = True
    history.name.value = "first"
    history.rows[2].select.value = True
    history.export.click()
    links = dict(re.findall(r'download="([^"]+)" href="data:[^,]+,([^"]+)"', history.files.value))
    table, record, archive = (base64.b64decode(links[f"runs.{e}"]) for e in ("csv", "json", "zip"))
    assert table.decode().count("\n") == 3
    assert [run["name"] for run in json.loads(record)["runs"]] == ["first", None]
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        pictures = [name for name in files.namelist() if name.endswith(".png")]
        assert len(pictures) == 2
        assert dpnb.read_settings(files.read(pictures[1])).seed == 2
    history.rows[1].select.value = False
    assert history.files.value == ""
    history.close()


def test_a_grid_ends_without_what_is_taken_out_of_the_queue(panel: RunPanel, pipe: Any) -> None:
    pipe.strategies.use([dpnb.AttentionSlicing()])
    choose(panel, ("FreeU: s1", "0.5, 0.7, 0.9"))
    with panel.session.lock:
        panel.grid.button.click()
        panel.session.queue.remove(1)
    while panel.session.is_drawing or panel.session.run_state.queue:
        assert panel.session.job is not None
        panel.session.job.wait(TIMEOUT)
    assert len(panel.session.run_state.history) == 2
    assert "2 of 3 pictures are drawn" in panel.grid.message.value
    assert pipe.strategies.active == {dpnb.AttentionSlicing()}


def test_rows_that_are_deleted_meanwhile_take_no_picture(panel: RunPanel, gate: Gate) -> None:
    gate.open(100)
    for _ in range(2):
        panel.draw().wait(TIMEOUT)
    choose(panel, ("seed", "0, 1, 2"))
    panel.grid.button.click()
    panel.session.forget_runs({1, 2})
    wait_for(lambda: "3 of 3 pictures" in panel.grid.message.value)
    panel.session.forget_runs({3, 4, 5})
    panel.draw().wait(TIMEOUT)
    assert [run.number for run in panel.session.run_state.history] == [6]


def test_cells_that_ask_for_the_same_are_all_drawn(panel: RunPanel) -> None:
    choose(panel, ("seed", "3, 3"))
    draw(panel)
    assert "2 of 2 pictures are drawn" in panel.grid.message.value
