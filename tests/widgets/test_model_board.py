from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest

import dpnb
from dpnb.errors import CheckpointError
from dpnb.widgets.background_task import BackgroundTask
from dpnb.widgets.dashboard import Dashboard
from dpnb.widgets.model_board import ModelBoard
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import Request
from tests.widgets.chosen_files import count_widgets
from tests.widgets.conftest import TIMEOUT, Gate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = tmp_path_factory.mktemp("models") / "tiny"
    dpnb.random_pipeline("tiny-sd").save_pretrained(place)
    return str(place)


@pytest.fixture
def board() -> Iterator[ModelBoard]:
    before = count_widgets()
    board = dpnb.dashboard()
    board.offering.wait(TIMEOUT)
    yield board
    board.close()
    assert count_widgets() == before


def drawn_by(board: ModelBoard) -> Dashboard:
    assert board.board is not None
    return board.board


def test_it_offers_what_is_here_and_names_its_controls(board: ModelBoard) -> None:
    assert "dpnb/emoji-64" in board.place.options
    assert board.board is None
    assert repr(board) == "ModelBoard of no model"
    assert board.place.description
    assert board.go.description


def test_a_model_is_loaded_and_draws(board: ModelBoard, folder: str) -> None:
    board.load(folder).wait(TIMEOUT)
    assert board.children[-1] is drawn_by(board)
    assert "is loaded" in board.message.value
    assert not board.go.disabled
    drawn_by(board).run.steps.value = 1
    assert drawn_by(board).draw().wait(TIMEOUT).images
    assert repr(board) == "ModelBoard of StableDiffusionPipeline"


def test_a_name_is_loaded_at_once(folder: str) -> None:
    board = dpnb.dashboard(Path(folder), Request("a pear", steps=2))
    try:
        with pytest.raises(SessionError, match="is being loaded"):
            board.load(folder)
        while board.board is None:
            board.offering.wait(TIMEOUT)
        assert board.board.run.request.prompt == "a pear"
        assert board.place.value == folder
    finally:
        board.close()
        ipywidgets.Widget.close_all()


def test_the_former_model_is_let_go(board: ModelBoard, folder: str) -> None:
    board.load(folder).wait(TIMEOUT)
    former = drawn_by(board)
    memories = [weakref.ref(item) for item in (former, former.session, former.session.pipe)]
    del former
    board.load(folder).wait(TIMEOUT)
    gc.collect()
    assert [memory() for memory in memories] == [None] * 3


def test_what_fails_is_said_and_the_former_model_stays(
    board: ModelBoard, folder: str, tmp_path: Path
) -> None:
    board.load(folder).wait(TIMEOUT)
    former = drawn_by(board)
    with pytest.raises(CheckpointError):
        board.load(str(tmp_path)).wait(TIMEOUT)
    assert board.board is former
    assert board.children[-1] is former
    assert 'role="alert"' in board.message.value
    assert f"{tmp_path} is not loaded: " in board.message.value
    former.run.steps.value = 1
    assert former.draw().wait(TIMEOUT).images


def test_a_click_says_what_is_wrong(board: ModelBoard) -> None:
    board.go.click()
    assert "There is no model" in board.message.value


def test_an_empty_name_is_refused_and_leaves_nothing() -> None:
    before = count_widgets()
    with pytest.raises(ValueError, match="no model"):
        dpnb.dashboard("")
    assert count_widgets() == before


def test_it_refuses_while_something_is_drawn(board: ModelBoard, folder: str) -> None:
    board.load(folder).wait(TIMEOUT)
    former = drawn_by(board)
    gate = Gate()
    leave = former.session.pipe.watch(gate)
    job = former.draw()
    gate.reached()
    with pytest.raises(SessionError, match="is being drawn"):
        board.load(folder)
    board.place.value = folder
    board.go.click()
    assert "is being drawn" in board.message.value
    gate.open(1000)
    job.wait(TIMEOUT)
    leave()
    assert board.board is former


def test_a_run_that_began_meanwhile_comes_to_its_end(
    board: ModelBoard, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.load(folder).wait(TIMEOUT)
    former, gate = drawn_by(board), Gate()
    leave = former.session.pipe.watch(gate)
    loading = board.load(folder)
    job = former.draw()
    gate.reached()
    with pytest.raises(TimeoutError):
        loading.wait(2)
    assert board.board is former
    gate.open(1000)
    assert job.wait(TIMEOUT).images
    loading.wait(TIMEOUT)
    assert board.board is not former
    leave()


def test_closed_it_drops_what_is_being_loaded(folder: str) -> None:
    before = count_widgets()
    board = dpnb.dashboard()
    board.offering.wait(TIMEOUT)
    loading = board.load(folder)
    board.close()
    loading.wait(TIMEOUT)
    assert count_widgets() == before
    with pytest.raises(SessionError, match="was closed"):
        board.load(folder)


def test_a_pipeline_has_its_dashboard_as_before(pipe: Any) -> None:
    board = dpnb.dashboard(pipe)
    assert type(board) is Dashboard
    board.close()


def test_a_task_hands_on_what_it_fails_with() -> None:
    def fail() -> None:
        raise KeyError("key")

    task = BackgroundTask(fail)
    with pytest.raises(KeyError, match="key"):
        task.wait(TIMEOUT)
    assert task.is_done
