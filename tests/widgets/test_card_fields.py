"""Fields begin with what the checkpoint's model card shows, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

import dpnb
from dpnb.loading.model_card import CARD
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.state import EXAMPLE, Request
from tests.cards import card
from tests.reference.checkpoints import diffusers, pipeline
from tests.widgets.conftest import TIMEOUT

TURBO = card(
    "Turbo",
    """
pipe = StableDiffusionPipeline.from_pretrained("someone/turbo")
pipe("a fox", num_inference_steps=2, guidance_scale=0.0, height=64, width=48,
     guidance_rescale=0.5)
""",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "turbo"
    pipeline("sd1").save_pretrained(folder)
    (folder / CARD).write_text(TURBO)
    return folder


@pytest.fixture
def foreign(folder: Path) -> Iterator[Any]:
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    yield pipe
    dpnb.attach(pipe).detach()
    ipywidgets.Widget.close_all()


def test_fields_show_the_card_and_say_so(foreign: Any) -> None:
    panel = RunPanel(foreign)
    assert (panel.steps.value, panel.guidance.value) == (2, 0.0)
    assert (panel.width.value, panel.height.value) == (48, 64)
    assert panel.request.more == (("guidance_rescale", 0.5),)
    assert panel.steps.tooltip == "num_inference_steps; the checkpoint's model card shows 2"
    assert "shows 0.5" in panel.fields.more["guidance_rescale"].widget.tooltip
    assert panel.seed.tooltip is None
    panel.close()


def test_what_the_caller_gives_goes_before_the_card(foreign: Any) -> None:
    asked = Request("a fox", steps=5, more=(("guidance_rescale", 0.25),))
    panel = RunPanel(foreign, asked)
    assert (panel.steps.value, panel.guidance.value) == (5, 0.0)
    assert panel.request.more == (("guidance_rescale", 0.25),)
    panel.close()


def test_a_request_that_says_nothing_is_the_pipeline_s_own(foreign: Any) -> None:
    board = dpnb.dashboard(foreign)
    asked = Request("a fox", width=32, height=32)
    board.session.start(asked).wait(TIMEOUT)
    [run] = board.session.run_state.history
    assert len(run.trace.steps) > 50
    board.session.restore(asked)
    assert (board.run.steps.value, board.run.guidance.value) == (50, 7.5)
    assert board.run.request.more == ()
    board.close()


def test_what_is_copied_draws_the_same(foreign: Any) -> None:
    board = dpnb.dashboard(foreign)
    output = board.draw().wait(TIMEOUT)
    plain = foreign(**board.run.request.arguments(board.session.pipe.call_signature))
    assert output.images[0].tobytes() == plain.images[0].tobytes()
    assert output.images[0].size == (48, 64)
    board.close()


def test_the_planner_plans_for_the_card(foreign: Any) -> None:
    board = dpnb.dashboard(foreign)
    workload = board.planner.workload
    assert (workload.steps, workload.height, workload.guidance_scale) == (2, 64, 0.0)
    assert workload.describe() == ("1 picture of 48 × 64, 2 steps (model card: guidance 0.0)")
    assert "model card shows 2" in board.planner.steps.tooltip
    board.run.guidance.value = 5.0
    assert board.planner.workload.guidance_scale == 5.0
    board.close()


def test_dpnb_s_own_pipelines_begin_with_their_card(folder: Path) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained(folder)
    panel = RunPanel(pipe)
    assert panel.prompt.value == EXAMPLE.prompt
    assert (panel.steps.value, panel.guidance.value, panel.width.value) == (2, 0.0, 48)
    panel.close()
    (folder / CARD).unlink()
    panel = RunPanel(dpnb.DiffusionPipeline.from_pretrained(folder))
    assert (panel.steps.value, panel.guidance.value) == (EXAMPLE.steps, EXAMPLE.guidance_scale)
    assert panel.steps.tooltip is None
    panel.close()
    ipywidgets.Widget.close_all()
