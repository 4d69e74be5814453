"""The part of a panel that draws grids: two things that vary, and the sheet that comes of them."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import ipywidgets as w

from dpnb.errors import DpnbError
from dpnb.strategies.catalog import catalog_for
from dpnb.strategies.settings import list_settings, strategy_label
from dpnb.strategies.strategy import Plan, Strategy
from dpnb.widgets.browser_images import encode_png
from dpnb.widgets.grid import DrawnCell, Grid, take_cell
from dpnb.widgets.grid_cells import STRATEGIES, GridCell, GridLayout, lay_out_grid
from dpnb.widgets.job import Job
from dpnb.widgets.literals import parse_literal
from dpnb.widgets.panel import status_html, status_line
from dpnb.widgets.request_fields import RequestFields
from dpnb.widgets.scheduler_choice import find_successors, short_scheduler_name
from dpnb.widgets.session import Session
from dpnb.widgets.state import FinishedRun

COMMON = {
    "seed": "0, 1, 2",
    "guidance_scale": "1, 3, 5",
    "steps": "5, 10, 20",
    "scheduler": "",
    "prompt": "",
}
"""What may vary of any request, and values to begin with."""

ON_AND_OFF = "off, on"


class GridView(w.VBox):  # type: ignore[misc]
    """Puts the cells of a grid into the queue, and shows the sheet as it fills.

    Args:
        session: what draws.
        fields: what all cells have in common.

    Attributes:
        axes: the menus of what varies down and across.
        values: the fields of its values, with commas between them.
        button: begins.
        sheet: what has been drawn so far.
    """

    def __init__(self, session: Session, fields: RequestFields) -> None:
        self._session, self._fields = session, fields
        self._pending: list[tuple[GridCell, Job]] = []
        self._drawn: dict[tuple[int, int], DrawnCell] = {}
        self._ended: set[tuple[int, int]] = set()
        self._layout: GridLayout | None = None
        self._before: Plan = frozenset()
        self._scheduler: Any = None
        self._switches = _list_switches(session)
        options = [("nothing", ""), *((name.replace("_", " "), name) for name in COMMON)]
        options += [(name, name) for name in self._switches]
        self.axes = [_menu(label, options) for label in ("Rows", "Columns")]
        self.values = [_text(label) for label in ("of rows", "of columns")]
        self.button = w.Button(description="Draw the grid", layout={"width": "auto"})
        self.message, self.sheet = status_line(), w.HTML()
        for axis, values in zip(self.axes, self.values, strict=True):
            axis.observe(lambda change, field=values: self._suggest(field, change["new"]), "value")
        self.button.on_click(lambda _: self._begin())
        pairs = zip(self.axes, self.values, strict=True)
        rows = [w.VBox([axis, values]) for axis, values in pairs]
        super().__init__([*rows, self.button, self.message, self.sheet])
        self.add_class("dpnb-grid-view")

    def _suggest(self, field: w.Text, axis: str) -> None:
        """Values to begin with."""
        if axis == "scheduler":
            names = [*find_successors(self._session.pipe.scheduler)]
            field.value = ", ".join(map(short_scheduler_name, names[:3]))
        elif axis in self._switches:
            field.value = _suggest_values(*self._switches[axis])
        else:
            field.value = COMMON.get(axis, "")
        field.placeholder = "with | between them" if axis == "prompt" else "with commas"

    def _begin(self) -> None:
        try:
            common = self._fields.request
            layout = lay_out_grid(self._session.pipe, self.arguments)
        except (DpnbError, ValueError, TypeError) as error:
            self.message.value = status_html(str(error), "error")
            return
        self._layout, self._pending, self._drawn, self._ended = None, [], {}, set()
        self._before = self._session.strategy_state.wanted
        self._scheduler = self._session.pipe.scheduler
        self.sheet.value = ""
        self.message.value = status_html(f"0 of {len(layout)} pictures are drawn.", "wait")
        with self._session.lock:
            for cell in layout:
                request = cell.request
                if request.scheduler == common.scheduler:
                    request = replace(request, scheduler_settings=common.scheduler_settings)
                self._pending.append((cell, self._session.queue.add(request, cell.plan)))
            self._layout = layout

    @property
    def arguments(self) -> dict[str, Any]:
        """What is given to `dpnb.grid`.

        Raises:
            ValueError: nothing varies, the same varies twice, or a value cannot be read.
        """
        chosen = [axis.value for axis in self.axes if axis.value]
        kinds = {STRATEGIES if name in self._switches else name for name in chosen}
        if not chosen or len(chosen) != len(kinds):
            raise ValueError(
                "Choose what varies in rows, in columns, or both: two different things, of which "
                "one may be a switch."
            )
        request = self._fields.request
        given: dict[str, Any] = {
            name: getattr(request, name)
            for name in ("prompt", "negative_prompt", "steps", "guidance_scale", "width", "height",
                         "seed", "scheduler", "strength")
        }  # fmt: skip
        given = {name: value for name, value in given.items() if value not in (None, "")}
        given |= {**dict(request.more), **dict(request.pictures)}
        for axis, field in zip(self.axes, self.values, strict=True):
            if axis.value:
                given.pop(axis.value, None)
                name, values = self._read(axis.value, field.value)
                given[name] = values
        return given

    def _read(self, axis: str, written: str) -> tuple[str, list[Any]]:
        mark = "|" if axis == "prompt" else ","
        words = [word.strip() for word in written.split(mark) if word.strip()]
        if axis in self._switches:
            kind, setting = self._switches[axis]
            return STRATEGIES, [self._plan(kind, setting, word) for word in words]
        if axis == "scheduler":
            known = {
                short_scheduler_name(n): n for n in find_successors(self._session.pipe.scheduler)
            }
            return axis, [known.get(word, word) for word in words]
        return axis, words if axis == "prompt" else [parse_literal(word) for word in words]

    def _plan(self, kind: type[Strategy], setting: str, word: str) -> list[Strategy]:
        """What is on, with this strategy as `word` says."""
        others = [s for s in self._session.strategy_state.wanted if s.slot != kind.slot]
        if word == "off":
            return others
        return [*others, kind() if word == "on" else kind(**{setting: parse_literal(word)})]

    def take(self, history: tuple[FinishedRun, ...]) -> None:
        """Take what has been drawn of the grid since."""
        layout = self._layout
        if layout is None:
            return
        for cell, job in self._pending:
            run = next((one for one in history if one.asked is job.request), None)
            if run is not None:
                self._ended.add((cell.row, cell.column))
                if (drawn := take_cell(run)) is not None:
                    self._drawn[cell.row, cell.column] = drawn
        self._pending = [one for one in self._pending if not self._is_over(*one)]
        self._show(layout)
        if not self._pending:
            self._end(layout)

    def _is_over(self, cell: GridCell, job: Job) -> bool:
        """Whether nothing more is drawn of a cell: its run is over, or never begins."""
        has_failed = job.is_done or job.exception is not None
        return has_failed or (cell.row, cell.column) in self._ended

    def _show(self, layout: GridLayout) -> None:
        words = f"{len(self._drawn)} of {len(layout)} pictures are drawn."
        self.message.value = status_html(words, "wait" if self._pending else "plain")
        if not self._drawn:
            return
        grid = Grid(layout, [self._drawn.get((cell.row, cell.column)) for cell in layout])
        data = base64.b64encode(encode_png(grid.sheet, quick=True)).decode()
        alt = html.escape(grid.alt, quote=True)
        address = f"data:image/png;base64,{data}"
        self.sheet.value = (
            f'<img class="dpnb-sheet" src="{address}" alt="{alt}"/>'
            f'<div><a href="{address}" download="grid.png">Save the sheet</a></div>'
        )

    def note_switch(self, before: Plan, after: Plan) -> None:
        """What is switched on has changed: what no cell asks for stays when the grid is drawn."""
        layout = self._layout
        if layout is None or after in [cell.plan for cell in layout]:
            return
        added, removed = after - before, before - after
        slots = {strategy.slot for strategy in added}
        kept = {one for one in self._before - removed if one.slot not in slots}
        self._before = frozenset(kept | added)

    def _end(self, layout: GridLayout) -> None:
        """All runs are over: what was on before is on again, with the former scheduler."""
        self._layout = None
        if any(cell.plan is not None for cell in layout):
            self._session.use(self._before)
        names, session = {cell.request.scheduler for cell in layout}, self._session
        is_theirs = len(names) > 1 and session.scheduler_name in names
        if is_theirs and session.run_state.phase == "idle":
            session.pipe.scheduler = self._scheduler


def _list_switches(session: Session) -> Mapping[str, tuple[type[Strategy], str]]:
    """What may vary of the strategies: whether each is on, and its settings that are numbers."""
    found: dict[str, tuple[type[Strategy], str]] = {}
    for kind in catalog_for(session.pipe.strategies.networks):
        found[strategy_label(kind)] = kind, ""
        for setting in list_settings(kind):
            if setting.number is not None or setting.is_flag:
                found[f"{strategy_label(kind)}: {setting.label}"] = kind, setting.name
    return found


def _suggest_values(kind: type[Strategy], setting: str) -> str:
    if not setting:
        return ON_AND_OFF
    default = getattr(kind(), setting)
    return f"off, {default}" if isinstance(default, (int, float)) else "off"


def _menu(label: str, options: list[tuple[str, str]]) -> w.Dropdown:
    return w.Dropdown(
        description=label, options=options, value="", layout={"width": "auto"},
        style={"description_width": "5.5em"},
    )  # fmt: skip


def _text(label: str) -> w.Text:
    return w.Text(
        description=label, placeholder="with commas", layout={"width": "auto"},
        style={"description_width": "5.5em"},
    )  # fmt: skip
