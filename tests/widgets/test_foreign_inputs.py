"""What people give pipelines that were not written here: films, sounds, values of Python."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets as w
import pytest
import torch
from PIL import Image

from dpnb.widgets.dashboard import Dashboard
from dpnb.widgets.media_field import MediaField
from tests.reference.census import all_cases
from tests.reference.foreign.case import ForeignCase, flatten_output
from tests.widgets.case_requests import to_request
from tests.widgets.chosen_files import choose_files
from tests.widgets.conftest import TIMEOUT
from tests.widgets.test_foreign_panels import run_code

CASES = {case.name: case for case in all_cases()}


@pytest.fixture
def open_case() -> Iterator[Callable[[str], tuple[Dashboard, ForeignCase]]]:
    """Builds a small pipeline, and shows its dashboard with what its case asks for."""
    boards: list[Dashboard] = []

    def build(name: str) -> tuple[Dashboard, ForeignCase]:
        case = CASES[name]
        board = Dashboard(case.build())
        boards.append(board)
        board.run.fields.show(to_request(board.session.pipe, case.arguments()))
        return board, case

    yield build
    for board in boards:
        board.close()
    w.Widget.close_all()


def upload(field: MediaField, *files: tuple[str, bytes]) -> None:
    """Do what a browser does once files were chosen."""
    choose_files(field.upload, *files)


def film(count: int, size: tuple[int, int] = (32, 32)) -> bytes:
    frames = [Image.new("RGB", size, (40 * place, 90, 20)) for place in range(count)]
    file = io.BytesIO()
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:])
    return file.getvalue()


def pipe_of(board: Dashboard) -> Any:
    explored: Any = board.session.pipe
    return explored.pipe


def test_a_film_is_uploaded_drawn_from_and_read_again_by_the_code(
    open_case: Callable[[str], tuple[Dashboard, ForeignCase]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    board, _ = open_case("WanVideoToVideoPipeline")
    field = board.run.picture_fields["video"]
    assert field in board.run.fields.words
    assert field.upload.multiple
    content = film(5)
    upload(field, ("dance.png", content))
    assert "5 pictures" in field.shown.value
    board.strategies.copy.value = True
    code = board.strategies.python.value
    assert "video = load_frames('dance.png')" in code
    torch.manual_seed(0)
    drawn = board.draw().wait(TIMEOUT)
    assert board.session.run_state.output.animations
    (tmp_path / "dance.png").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    again = run_code(code, pipe_of(board))["output"]
    assert torch.equal(flatten_output(again), flatten_output(drawn))
    field.remove.click()
    assert "video" not in dict(board.run.request.pictures)
    assert "load_frames" not in board.strategies.python.value


def test_what_no_field_can_hold_is_given_in_a_cell_and_shown(
    open_case: Callable[[str], tuple[Dashboard, ForeignCase]],
) -> None:
    board, case = open_case("KandinskyV22Pipeline")
    panel, given = board.run, case.arguments()
    rows = [*panel.fields.given.values]
    assert {"image_embeds", "negative_image_embeds"} <= {*rows}
    panel.fields.given.children[rows.index("image_embeds")].children[1].click()
    panel.generate.click()
    assert "First write image_embeds, or give it in a cell" in panel.failure.value
    panel.set_argument("image_embeds", given["image_embeds"])
    board.strategies.copy.value = True
    code = board.strategies.python.value
    assert "# image_embeds: a value from a cell; set it first" in code
    drawn = panel.draw().wait(TIMEOUT)
    names: dict[str, Any] = {"pipe": pipe_of(board), **dict(panel.request.more)}
    exec(code, names)
    assert torch.equal(flatten_output(names["output"]), flatten_output(drawn))
    panel.fields.show(board.session.run_state.history[0].request)
    assert panel.request.more == board.session.run_state.history[0].request.more


def test_a_size_that_the_pipeline_does_not_tell_can_be_asked_for(
    open_case: Callable[[str], tuple[Dashboard, ForeignCase]],
) -> None:
    board, case = open_case("ZImageControlNetPipeline")
    asked, wanted = board.run.request.arguments(board.session.pipe.call_signature), case.arguments()
    assert (asked["height"], asked["width"]) == (wanted["height"], wanted["width"])
    assert asked["control_image"].size == wanted["control_image"].size
    with pytest.raises(ValueError, match="wings is no argument of this pipeline's call"):
        board.run.set_argument("wings", 2)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "name",
    [
        "StableDiffusionControlNetPipeline (two nets)",
        "StableDiffusionGLIGENTextImagePipeline",
        "SemanticStableDiffusionPipeline",
        "LTX2ConditionPipeline",
        "KandinskyInpaintPipeline",
        "StableAudio3InpaintPipeline",
        "WanImageToVideoPipeline (two transformers)",
        "StableDiffusionPipeline (four pictures)",
    ],
)
def test_a_panel_asks_for_whatever_a_call_was_given(
    open_case: Callable[[str], tuple[Dashboard, ForeignCase]], name: str
) -> None:
    board, case = open_case(name)
    signature = board.session.pipe.call_signature
    asked, wanted = board.run.request.arguments(signature), case.arguments()
    defaults = {one.name: None if one.is_required else one.default for one in signature}
    lost = {n for n, v in wanted.items() if n not in asked and v is not None}
    assert {n for n in lost if defaults[n] != wanted[n]} == set()
    board.run.generate.click()
    job = board.session.job
    assert job is not None
    job.wait(TIMEOUT)
    assert board.session.run_state.error == ""
    assert board.session.run_state.output
