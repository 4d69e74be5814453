"""Grids: pictures side by side that differ in one or two things."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from dpnb.atomic import write_bytes
from dpnb.fidelity.difference import PictureDifference, compare
from dpnb.fidelity.picture_values import LEAST
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.pipelines.attached.attached_pipeline import AttachedPipeline
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.pictures.labelled_sheet import draw_sheet
from dpnb.pipelines.recording import record
from dpnb.pipelines.settings.picture_files import save_with_settings
from dpnb.pipelines.settings.picture_settings import PictureSettings, PlanFrom
from dpnb.pipelines.settings.scheduler_settings import exchange_scheduler
from dpnb.widgets.grid_cells import GridCell, GridLayout, lay_out_grid
from dpnb.widgets.run_output import Rates, read_output
from dpnb.widgets.run_settings import describe_request, list_picture_settings
from dpnb.widgets.scheduler_choice import choose_scheduler
from dpnb.widgets.state import FinishedRun


@dataclass(frozen=True, eq=False)
class DrawnCell:
    """A picture of a grid, and what it has cost.

    Args:
        picture: what was drawn.
        settings: what it was drawn with.
        seconds: that its run took.
        peak: the most bytes that were in use.
    """

    picture: Image.Image
    settings: PictureSettings | None
    seconds: float
    peak: int


class Grid:
    """The pictures of a grid; `grid[row, column]` is one of them.

    Args:
        layout: what was asked for.
        drawn: for each cell of the layout what has become of it; `None` where nothing has.
    """

    def __init__(self, layout: GridLayout, drawn: Sequence[DrawnCell | None]) -> None:
        self.layout = layout
        self._drawn = dict(zip([(c.row, c.column) for c in layout], drawn, strict=True))

    @property
    def shape(self) -> tuple[int, int]:
        """The number of rows and of columns."""
        return len(self.layout.down.labels), len(self.layout.across.labels)

    @property
    def rows(self) -> tuple[str, ...]:
        """What stands beside each row."""
        return self.layout.down.labels

    @property
    def columns(self) -> tuple[str, ...]:
        """What stands above each column."""
        return self.layout.across.labels

    def __getitem__(self, place: tuple[int, int]) -> Image.Image:
        return self.cell(*place).picture

    def cell(self, row: int, column: int) -> DrawnCell:
        """What was drawn in one place.

        Args:
            row: from 0; from the end where it is negative.
            column: likewise.

        Raises:
            IndexError: there is no such place, or nothing was drawn there.
        """
        height, width = self.shape
        found = None
        if -height <= row < height and -width <= column < width:
            found = self._drawn[row % height, column % width]
        if found is None:
            raise IndexError(
                f"there is no picture in row {row}, column {column}; this grid has {height} rows "
                f"and {width} columns, counted from 0."
            )
        return found

    def __iter__(self) -> Iterator[Image.Image]:
        """The pictures, row by row."""
        return (one.picture for one in self._drawn.values() if one is not None)

    @property
    def settings(self) -> tuple[tuple[PictureSettings | None, ...], ...]:
        """What each picture was drawn with, by row and column."""
        return tuple(
            tuple(None if one is None else one.settings for one in row) for row in self._by_row()
        )

    @property
    def seconds(self) -> tuple[tuple[float | None, ...], ...]:
        """How long each run took, by row and column."""
        return tuple(
            tuple(None if one is None else one.seconds for one in row) for row in self._by_row()
        )

    @property
    def peaks(self) -> tuple[tuple[int | None, ...], ...]:
        """The most bytes that each run had in use, by row and column."""
        return tuple(
            tuple(None if one is None else one.peak for one in row) for row in self._by_row()
        )

    @cached_property
    def differences(self) -> tuple[tuple[PictureDifference | None, ...], ...]:
        """How far each picture is from the first one by FLIP, by row and column.

        `None` where nothing was drawn, or where prompt, seed or size are not those of the first.

        Raises:
            MissingPackageError: `dpnb[quality]` is not installed.
        """
        alike = self._drawn_alike()
        found = {place: compare(alike[0, 0], one, ["flip"]) for place, one in alike.items()}
        height, width = self.shape
        return tuple(
            tuple(found.get((row, column)) for column in range(width)) for row in range(height)
        )

    def _drawn_alike(self) -> dict[tuple[int, int], Image.Image]:
        """The first picture, and those with its prompt, seed and size; none without the first."""
        first, start = self._drawn[0, 0], self.layout.cells[0].request
        if first is None or min(first.picture.size) < LEAST:
            return {}
        return {
            (cell.row, cell.column): one.picture
            for cell in self.layout
            if (one := self._drawn[cell.row, cell.column]) is not None
            and (cell.request.prompt, cell.request.seed) == (start.prompt, start.seed)
            and one.picture.size == first.picture.size
        }

    @cached_property
    def sheet(self) -> Image.Image:
        """All pictures in one, with words beside the rows and above the columns."""
        pictures = [[None if one is None else one.picture for one in row] for row in self._by_row()]
        return draw_sheet(pictures, self.rows, self.columns, self.layout.title)

    @property
    def alt(self) -> str:
        """The sheet in words, for those who do not see it."""
        height, width = self.shape
        sides = [", ".join(labels) for labels in (self.rows, self.columns) if any(labels)]
        title = f" of {self.layout.title}" if self.layout.title else ""
        return f"Grid of {height} × {width} pictures{title}: {'; by '.join(sides)}"

    def save(self, path: str | Path) -> tuple[Path, ...]:
        """Write the sheet into a PNG file, or the sheet and every picture into a folder.

        Args:
            path: a file whose name ends in `.png`, or a folder. There `sheet.png` is the sheet, and
                `1-2.png` the picture of the first row and second column, with its settings.

        Returns:
            The files.

        Raises:
            ValueError: the name is that of another kind of file.
            SaveError: a file cannot be written.
        """
        target = Path(path)
        if target.suffix.lower() == ".png" and not target.is_dir():
            write_bytes(target, self._repr_png_())
            return (target,)
        if target.suffix and not target.is_dir():
            raise ValueError(
                f"{target} is neither a PNG file nor a folder; name it {target.stem}.png."
            )
        files = [target / "sheet.png"]
        write_bytes(files[0], self._repr_png_())
        for (row, column), one in self._drawn.items():
            if one is not None:
                files.append(target / f"{row + 1}-{column + 1}.png")
                save_with_settings(files[-1], one.picture, one.settings)
        return tuple(files)

    def _by_row(self) -> list[list[DrawnCell | None]]:
        height, width = self.shape
        return [[self._drawn[row, column] for column in range(width)] for row in range(height)]

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.sheet.save(file, "PNG")
        return file.getvalue()

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        data = base64.b64encode(self._repr_png_()).decode()
        return {"image/png": data, "text/plain": self.alt}, {"image/png": {"alt": self.alt}}


def grid(pipe: Any, prompt: Any = "", *, progress: bool = True, **arguments: Any) -> Grid:
    """Draw pictures that differ in one or two things, side by side.

    ```python
    dpnb.grid(pipe, "a red apple", seed=[0, 1, 2], guidance_scale=[1, 3, 5], steps=20)
    ```

    An argument that is given a list varies: the first one down, the second one across. What is
    switched on at the pipeline and its scheduler are the former ones afterwards, also after an
    error. Everything is checked before the first picture is drawn.

    Args:
        pipe: a pipeline; one that was not written here is attached, and stays so.
        prompt: in words, or a list of prompts.
        progress: whether to show a bar, where the pipeline's own are not switched off.
        arguments: `negative_prompt`, `steps`, `guidance_scale`, `seed`, `width`, `height`,
            `scheduler` (the name of a class), `strength`, further arguments of the pipeline's call,
            and `strategies`: a list of plans, each a list of strategies, one for each row or
            column. What itself is a list for the call is given as a tuple.

    Raises:
        AttachError: `pipe` is no pipeline, or one that cannot be attached.
        TypeError: an argument is unknown.
        ValueError: more than two arguments are lists, or a value is impossible.
        StrategyError: a strategy cannot be switched on here.
    """
    explored = to_explorable(pipe)
    named = {"prompt": prompt, **arguments} if prompt != "" else arguments
    layout = lay_out_grid(explored, named)
    with _one_bar(explored, layout, progress) as cells:
        return Grid(layout, [draw_cell(explored, cell) for cell in cells])


def draw_cell(pipe: ExplorablePipeline, cell: GridCell) -> DrawnCell:
    """Draw one picture of a grid; the pipeline is as before afterwards.

    Args:
        pipe: draws it.
        cell: what to draw.

    Raises:
        ValueError: the pipeline draws no picture.
    """
    with ExitStack() as around:
        scheduler = choose_scheduler(pipe.scheduler, cell.request.scheduler)
        around.enter_context(exchange_scheduler(pipe, scheduler))
        if cell.plan is not None:
            around.enter_context(pipe.strategies.using(*cell.plan))
        settings = describe_request(pipe, cell.request)
        plans = (PlanFrom.of(0, pipe.strategies.active),)
        with record(pipe) as recorder:
            output = pipe.make_run(**cell.request.arguments(pipe.call_signature))()
        done = recorder.trace.runs[0]
    pictures = read_output(output, Rates()).middles
    if not pictures:
        raise ValueError("This pipeline draws no pictures, of which a grid could be made.")
    drawn = settings.after_run(plans, done.duration, done.peak)
    return DrawnCell(pictures[0], drawn, done.duration, done.peak)


def take_cell(run: FinishedRun) -> DrawnCell | None:
    """A run of a session as a cell of a grid; `None` where it has drawn nothing."""
    if not run.pictures:
        return None
    done = run.trace.runs[0]
    return DrawnCell(run.pictures[0], list_picture_settings(run)[0], done.duration, done.peak)


@contextmanager
def _one_bar(
    pipe: ExplorablePipeline, layout: GridLayout, progress: bool
) -> Iterator[Iterator[GridCell]]:
    """The cells, with one bar in the place of those of all runs."""
    holder, name = (pipe, "_progress")
    if isinstance(pipe, AttachedPipeline):
        holder, name = pipe.pipe, "_progress_bar_config"
    former = vars(holder).get(name)
    before = former or {}
    is_shown = progress and not before.get("disable")
    vars(holder)[name] = {**before, "disable": True}
    try:
        yield _count(layout, {**before, "disable": not is_shown})
    finally:
        if former is None:
            vars(holder).pop(name)
        else:
            vars(holder)[name] = former


def _count(layout: GridLayout, options: dict[str, Any]) -> Iterator[GridCell]:
    from tqdm.auto import tqdm

    with tqdm(total=len(layout), unit="picture", **options) as bar:
        for cell in layout:
            yield cell
            bar.update()
