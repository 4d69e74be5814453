from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typing_extensions import override

import dpnb
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.stages import Step
from dpnb.strategies.freeu import FreeU
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.vae import VaeSlicing
from dpnb.widgets.grid import Grid, grid, take_cell
from dpnb.widgets.grid_cells import lay_out_grid
from dpnb.widgets.session import Session
from tests.reference.checkpoints import pipeline
from tests.widgets.conftest import TIMEOUT
from tests.widgets.test_foreign_panels import OLD_NUMPY

SMALL: dict[str, Any] = {"steps": 2, "width": 32, "height": 32}


class Interrupting(RunListener[Run]):
    """Interrupts the run of this number, from 1."""

    def __init__(self, number: int, error: BaseException) -> None:
        self._left, self._error = number, error

    @override
    def begin_run(self, run: Run) -> None:
        self._left -= 1

    @override
    def end_step(self, run: Run, step: Step) -> None:
        if self._left == 0:
            raise self._error


def test_every_cell_is_the_picture_that_its_arguments_draw(pipe: Any) -> None:
    names = ["DDIMScheduler", "EulerDiscreteScheduler"]
    made = grid(pipe, "a fox", seed=[5, 6], scheduler=names, **SMALL)
    assert (made.shape, len(list(made))) == ((2, 2), 4)
    before = pipe.scheduler
    for row, seed in enumerate([5, 6]):
        for column, name in enumerate(names):
            pipe.scheduler = getattr(dpnb, name).from_config(before.config)
            settings = made.settings[row][column]
            assert settings is not None
            assert (settings.seed, settings.scheduler) == (seed, name)
            drawn = pipe(**settings.call(pipe)).images[0]
            pipe.scheduler = before
            assert made[row, column].tobytes() == drawn.tobytes()
            assert settings.draw(pipe).tobytes() == drawn.tobytes()
            assert made.seconds[row][column] == settings.seconds
            assert made.peaks[row][column] == settings.peak


def test_plans_are_on_for_their_cells_and_the_former_one_comes_back(pipe: Any) -> None:
    pipe.strategies.use([VaeSlicing()])
    made = grid(pipe, "a fox", strategies=[[], [FreeU()]], seed=1, **SMALL)
    assert pipe.strategies.active == {VaeSlicing()}
    assert made[0, 0].tobytes() != made[1, 0].tobytes()
    plans = [row[0].plans for row in made.settings if row[0] is not None]
    assert [one[0].plan for one in plans] == [set(), {FreeU()}]
    assert made.cell(-1, 0) is made.cell(1, 0)


def test_without_plans_what_is_on_stays_on_and_is_told(pipe: Any) -> None:
    pipe.strategies.use([QKVFusion()])
    settings = grid(pipe, "a fox", **SMALL).settings[0][0]
    assert settings is not None
    assert [one.plan for one in settings.plans] == [{QKVFusion()}]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("stop")], ids=["key", "error"])
def test_an_interrupt_leaves_the_pipeline_as_it_was(pipe: Any, error: BaseException) -> None:
    pipe.strategies.use([VaeSlicing()])
    before, progress = pipe.scheduler, dict(vars(pipe)["_progress"])
    leave = pipe.watch(Interrupting(2, error))
    with pytest.raises(type(error)):
        grid(
            pipe,
            "a fox",
            strategies=[[], [FreeU()]],
            scheduler=["EulerDiscreteScheduler"],
            **SMALL,
        )
    leave()
    assert pipe.scheduler is before
    assert pipe.strategies.active == {VaeSlicing()}
    assert vars(pipe)["_progress"] == progress


def test_nothing_is_drawn_where_one_cell_is_refused(pipe: Any) -> None:
    leave = pipe.watch(Interrupting(1, AssertionError("drawn")))
    with pytest.raises(ValueError, match="num_inference_steps is 0"):
        grid(pipe, "a fox", steps=[1, 0])
    leave()


@OLD_NUMPY
def test_a_pipeline_of_diffusers_draws_a_grid_too() -> None:
    pipe = pipeline("sd1")
    before, bar = pipe.scheduler, dict(vars(pipe)).get("_progress_bar_config")
    names = ["DDIMScheduler", "EulerDiscreteScheduler"]
    made = grid(pipe, "a fox", seed=[1, 2], scheduler=names, progress=False, **SMALL)
    assert pipe.scheduler is before
    assert dict(vars(pipe)).get("_progress_bar_config") == bar
    settings = made.settings[1][1]
    assert settings is not None
    assert settings.draw(pipe).tobytes() == made[1, 1].tobytes()
    dpnb.attach(pipe).detach()


def test_one_bar_stands_for_those_of_all_runs(pipe: Any, capsys: Any) -> None:
    pipe.set_progress_bar_config(ncols=60)
    try:
        grid(pipe, "a fox", seed=[0, 1, 2], **SMALL)
        shown = capsys.readouterr().err
        assert "3/3" in shown
        assert "2/2" not in shown
        assert vars(pipe)["_progress"] == {"ncols": 60}
        grid(pipe, "a fox", progress=False, **SMALL)
        assert capsys.readouterr().err == ""
    finally:
        pipe.set_progress_bar_config(disable=True)
    grid(pipe, "a fox", **SMALL)
    assert capsys.readouterr().err == ""


def test_a_grid_shows_itself_and_says_what_it_shows(pipe: Any) -> None:
    made = grid(pipe, "a fox", seed=[0, 1], **SMALL)
    data, told = made._repr_mimebundle_()
    with Image.open(io.BytesIO(base64.b64decode(data["image/png"]))) as shown:
        assert shown.size == made.sheet.size
    assert told["image/png"]["alt"] == data["text/plain"] == made.alt
    assert made.alt.startswith("Grid of 2 × 1 pictures of a fox, steps 2")
    assert "seed 0, seed 1" in made.alt
    with pytest.raises(IndexError, match="no picture in row 2, column 0; this grid has 2 rows"):
        made[2, 0]


def test_a_grid_says_how_far_pictures_are_from_the_first(pipe: Any) -> None:
    pytest.importorskip("flip_evaluator")
    drawn = grid(
        pipe, "a red apple", strategies=[[], [FreeU()]], seed=[0, 1], steps=2, progress=False
    )
    (first, other), (changed, last) = drawn.differences
    assert first is not None
    assert first.size == 0
    assert changed is not None
    assert changed.flip == dpnb.compare(drawn[0, 0], drawn[1, 0]).flip
    assert other is last is None, "another seed draws another picture anyway"
    half = Grid(drawn.layout, [None, drawn.cell(0, 1), drawn.cell(1, 0), None])
    assert half.differences == ((None, None), (None, None))


def test_a_grid_is_saved_as_a_picture_or_as_a_folder(pipe: Any, tmp_path: Path) -> None:
    made = grid(pipe, "a fox", seed=[0, 1], guidance_scale=[1, 2], **SMALL)
    assert made.save(tmp_path / "sheet.png") == (tmp_path / "sheet.png",)
    folder = tmp_path / "grid"
    files = [one.name for one in made.save(folder)]
    assert files == ["sheet.png", "1-1.png", "1-2.png", "2-1.png", "2-2.png"]
    assert sorted(files) == sorted(one.name for one in folder.iterdir())
    assert dpnb.read_settings(folder / "2-1.png") == made.settings[1][0]
    with pytest.raises(ValueError, match=r"grid\.jpg is neither a PNG file nor a folder"):
        made.save(tmp_path / "grid.jpg")


def test_a_session_draws_the_cells_one_by_one(session: Session) -> None:
    layout = lay_out_grid(session.pipe, {"prompt": "a fox", "seed": [0, 1], **SMALL})
    drawn = []
    for cell in layout:
        session.start(cell.request).wait(TIMEOUT)
        drawn.append(take_cell(session.run_state.history[-1]))
    partial, whole = Grid(layout, [drawn[0], None]), Grid(layout, drawn)
    assert len(list(partial)) == 1
    assert partial.sheet.size == whole.sheet.size
    assert partial.seconds[1] == (None,)
    once = grid(session.pipe, "a fox", seed=[0, 1], **SMALL)
    assert [one.tobytes() for one in whole] == [one.tobytes() for one in once]
