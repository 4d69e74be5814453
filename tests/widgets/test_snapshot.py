from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import dpnb
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.snapshot import ROWS, WIDTH, Shown, draw_snapshot
from dpnb.widgets.state import Request
from tests.widgets.conftest import TIMEOUT, Gate

LONG = "a very long prompt of many, many words " * 20


@pytest.fixture
def panel(pipe: Any) -> Iterator[RunPanel]:
    panel = RunPanel(pipe, Request("a red apple", steps=2))
    yield panel
    panel.close()


def margins(picture: Image.Image) -> list[int]:
    """Pixels of white at the left, top, right and bottom."""
    inked = np.asarray(picture.convert("L")) < 250
    rows, columns = (np.asarray(inked.any(axis=axis)) for axis in (1, 0))
    return [int(line.argmax()) for line in (columns, rows, columns[::-1], rows[::-1])]


def test_before_the_first_run_a_line_says_so(panel: RunPanel) -> None:
    shown = Shown.of(panel.session)
    assert shown.describe() == (
        "StableDiffusionPipeline: nothing has been drawn yet; nothing switched on."
    )
    assert panel.snapshot().height < 100


def test_the_last_run_is_described_and_drawn_with_what_is_on(panel: RunPanel, pipe: Any) -> None:
    panel.draw().wait(TIMEOUT)
    plain = panel.snapshot()
    pipe.enable_vae_slicing()
    words = Shown.of(panel.session).describe()
    assert words.startswith("StableDiffusionPipeline: a red apple, seed 0, 2 steps")
    assert "Drawn in" in words
    assert words.endswith("; VAE slicing.")
    assert panel.snapshot().tobytes() != plain.tobytes()


def test_the_table_grows_with_the_runs_and_then_keeps_the_last(panel: RunPanel) -> None:
    heights = []
    for _ in range(ROWS + 1):
        panel.draw().wait(TIMEOUT)
        heights.append(panel.snapshot().height)
    assert heights[:ROWS] == sorted(set(heights))
    assert heights[-1] == heights[-2]


def test_nothing_reaches_over_the_edge_however_long_it_is(panel: RunPanel) -> None:
    panel.session.use(frozenset({dpnb.VaeSlicing(), dpnb.FreeU(), dpnb.ChannelsLast()}))
    panel.prompt.value = LONG
    panel.draw().wait(TIMEOUT)
    picture = panel.snapshot()
    assert picture.width >= WIDTH
    assert min(margins(picture)) > 5


def test_any_letters_of_a_prompt_are_drawn_without_a_warning(panel: RunPanel) -> None:
    panel.prompt.value = "狐 $x^2$ \\frac 🦊 fox_{"
    panel.draw().wait(TIMEOUT)
    assert "狐 $x^2$ \\frac 🦊 fox_{" in Shown.of(panel.session).describe()
    panel.snapshot()


def test_a_run_that_a_cell_began_or_that_was_stopped_is_drawn(panel: RunPanel, pipe: Any) -> None:
    pipe("a pear", num_inference_steps=1)
    shown = Shown.of(panel.session)
    assert "begun from a cell" in shown.describe()
    assert draw_snapshot(replace(shown, picture=b"")).tobytes() != panel.snapshot().tobytes()


def test_a_stopped_run_says_so_beside_its_time(panel: RunPanel, gate: Gate) -> None:
    job = panel.draw()
    gate.reached()
    panel.session.stop()
    gate.open(100)
    with pytest.raises(dpnb.StoppedError):
        job.wait(TIMEOUT)
    assert "Stopped after" in Shown.of(panel.session).describe()
    assert panel.snapshot().width > WIDTH
