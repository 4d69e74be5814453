"""The panels of a pipeline whose latents are packed."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import ipywidgets
import pytest
from PIL import Image

import dpnb
from dpnb.widgets.dashboard import Dashboard
from dpnb.widgets.state import Request
from tests.strategies.pipes import build
from tests.widgets.conftest import TIMEOUT, Gate
from tests.widgets.test_session import wait_for


@pytest.fixture(scope="module")
def tiny() -> Any:
    return build("tiny-flux")


@pytest.fixture
def board(pipe: Any) -> Iterator[Dashboard]:
    board = dpnb.dashboard(pipe, Request("a red apple", steps=2, width=48, height=32))
    yield board
    board.close()
    ipywidgets.Widget.close_all()


def test_it_draws_and_counts_its_run(board: Dashboard) -> None:
    board.strategies.session.enable(dpnb.ConditioningCache())
    output = board.draw().wait(TIMEOUT)
    shown = Image.open(io.BytesIO(board.session.run_state.picture))
    assert shown.tobytes() == output.images[0].tobytes()
    assert shown.size == (48, 32)
    assert len(board.history.rows) == 1


def test_what_cannot_serve_is_grey_and_no_other_scheduler_is_offered(board: Dashboard) -> None:
    row = board.strategies.rows[dpnb.FreeU]
    assert row.switch.disabled
    usable = {kind for kind, row in board.strategies.rows.items() if not row.switch.disabled}
    assert {dpnb.QKVFusion, dpnb.VaeTiling, dpnb.AttentionSlicing, dpnb.LayerwiseCasting} <= usable
    assert [name for _, name in board.run.scheduler.options] == ["FlowMatchEulerDiscreteScheduler"]
    assert board.run.height.step == 4


@pytest.mark.slow
@pytest.mark.parametrize("every", [0, 1])
def test_what_a_picture_is_becoming_is_shown(board: Dashboard, gate: Gate, every: int) -> None:
    """By colours that the first run has taught, or decoded after every step."""
    gate.open(4)
    board.draw().wait(TIMEOUT)
    runs = board.session.run_state
    runs.preview_every = every
    seen: list[bytes] = []
    runs.observe(lambda change: seen.append(change["new"]), "picture")
    job = board.draw()
    gate.open(2)
    wait_for(lambda: bool(seen))
    assert runs.is_preview
    assert Image.open(io.BytesIO(seen[0])).size == ((48, 32) if every else (24, 16))
    gate.open(1000)
    job.wait(TIMEOUT)
