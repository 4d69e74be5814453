"""The panel of the runs that are over, and of how they differ."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as w

from dpnb.fidelity.difference import PictureDifference
from dpnb.widgets.chart_frames import in_two_sizes
from dpnb.widgets.charts import comparison_chart
from dpnb.widgets.history_row import HistoryRow, RowLook
from dpnb.widgets.panel import Panel, heading
from dpnb.widgets.picture_judge import PictureJudge, Verdict
from dpnb.widgets.picture_wipe import PictureWipe
from dpnb.widgets.run_comparison import REPEATABLE, compare_runs
from dpnb.widgets.run_export import runs_to_csv, runs_to_json, zip_runs
from dpnb.widgets.run_words import describe_plan
from dpnb.widgets.state import FinishedRun

HINT = (
    '<div class="dpnb-note" style="margin-left:0">A process keeps memory that it has freed, so its '
    "peaks do not compare from run to run: for that, measure weights and what runs make.</div>"
)


class HistoryPanel(Panel):
    """Each run a row, compared with a baseline that may be chosen.

    Args:
        pipe: the pipeline.
    """

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        self.rows: dict[int, HistoryRow] = {}
        self._look = RowLook()
        self._cleanup.callback(self._look.close)
        self._compared_with: FinishedRun | None = None
        self._verdicts: dict[tuple[int, int], Verdict] = {}
        self.list, self.chart, self.wipe = w.VBox(), w.HTML(), PictureWipe(self._note_verdict)
        self.list.add_class("dpnb-rows")
        self.name = w.Text(
            description="Name", continuous_update=False, style={"description_width": "auto"},
            layout={"width": "16em"},
        )  # fmt: skip
        self.delete = w.Button(description="Delete", layout={"width": "auto"})
        self.delete.tooltip = "Take the ticked runs out of the history"
        self.export = w.Button(description="Files", layout={"width": "auto"})
        self.export.tooltip = "Write the ticked runs as CSV, JSON, and pictures in a ZIP file"
        self.files = w.HTML()
        self.tools = w.Box([self.name, self.delete, self.export, self.files])
        self.tools.add_class("dpnb-flow")
        self.empty = w.HTML(
            '<div class="dpnb-empty">Every run becomes a row here: what it took, and what each '
            "switch changed. Tick runs to name, compare, save or delete them.</div>"
        )
        self.hint = w.HTML()
        self._bind()
        top = [heading("History"), self.empty, self.hint, self.tools]
        self.fill([*top, self.chart, self.wipe, self.list])
        self.judge = PictureJudge(self.session)
        self.watch(self.session.run_state, ["history", "baseline"], lambda _: self.show())
        self.watch(self.session.run_state, "verdicts", lambda _: self._show_verdicts())
        self.watch(self.session.run_state, "phase", lambda _: self._consider())
        self.show()

    @property
    def baseline(self) -> FinishedRun | None:
        """The run with which the others are compared: the chosen one, or the first that drew."""
        runs: Sequence[FinishedRun] = self.session.run_state.history
        chosen = [run for run in runs if run.number == self.session.run_state.baseline]
        return next(iter([*chosen, *(run for run in runs if run.is_finished)]), None)

    @property
    def selection(self) -> list[FinishedRun]:
        """The runs whose box is ticked."""
        return [row.run for row in self.rows.values() if row.select.value]

    def show(self) -> None:
        """Bring the rows to the runs that are over.

        A browser draws anew all that follows a widget that came or went: so a row of a run that is
        forgotten is that of the next one, new ones come last, and the page puts them in order.
        """
        runs: Sequence[FinishedRun] = self.session.run_state.history
        kept = {run.number for run in runs}
        gone = [self.rows.pop(number) for number in list(self.rows) if number not in kept]
        has_lost = bool(gone)
        baseline = self.baseline
        is_other = baseline is not self._compared_with
        self._compared_with = baseline
        for run in runs:
            if run.number not in self.rows:
                self.rows[run.number] = gone.pop() if gone else self._row(run)
                self._show_row(run, baseline)
            elif is_other or self.rows[run.number].run is not run:
                self._show_row(run, baseline)
        widgets = [row.widget for row in self.rows.values()]
        there = [one for one in self.list.children if one in widgets]
        self.list.children = [*there, *(one for one in widgets if one not in there)]
        self.empty.layout.display = "none" if runs else None
        self.hint.value = "" if all(run.trace.meter in REPEATABLE for run in runs) else HINT
        for row in gone:
            row.close()
        if has_lost or not self.chart.value:
            self._show_selection()
        self._consider()

    def _show_row(self, run: FinishedRun, baseline: FinishedRun | None) -> None:
        self.rows[run.number].show(run, baseline, self._verdict_of(run, baseline))

    def _verdict_of(self, run: FinishedRun, baseline: FinishedRun | None) -> Verdict | None:
        named = (run.number, 0 if baseline is None else baseline.number)
        found: Verdict | None = self.session.run_state.verdicts.get(named)
        return found

    def _show_verdicts(self) -> None:
        """Say how far pictures differ where that has been found since."""
        baseline, before = self.baseline, self._verdicts
        self._verdicts = self.session.run_state.verdicts
        for row in list(self.rows.values()):
            found = self._verdict_of(row.run, baseline)
            if baseline is not None and found != before.get((row.run.number, baseline.number)):
                self._show_row(row.run, baseline)

    def _note_verdict(self, one: FinishedRun, other: FinishedRun, found: PictureDifference) -> None:
        """Keep what was found of two runs because somebody has asked, if both drew the same."""
        if found.flip is None or compare_runs(one, other).largest is None:
            return
        verdict, state = Verdict(found.flip.mean, found.flip.worst), self.session.run_state
        with self.session.lock:
            state.note_verdict(other, one, verdict)
            state.note_verdict(one, other, verdict)

    def _consider(self) -> None:
        """Let pictures be compared, unless something is drawn."""
        self.judge.consider(self.baseline)

    def _bind(self) -> None:
        self.name.observe(lambda _: self._rename(), "value")
        self.export.on_click(lambda _: self._write_files())
        self.delete.on_click(
            lambda _: self.session.forget_runs({run.number for run in self.selection})
        )

    def _write_files(self) -> None:
        """Offer the ticked runs as files."""
        chosen = self.selection
        names = {run.number: run.name for run in chosen if run.name}
        found = self._differences()
        files = [
            ("runs.csv", "text/csv", runs_to_csv(chosen, names, found).encode()),
            ("runs.json", "application/json", runs_to_json(chosen, names, found).encode()),
            ("runs.zip", "application/zip", zip_runs(chosen, names, found)),
        ]
        self.files.value = " · ".join(
            f'<a download="{name}" href="data:{kind};base64,{base64.b64encode(data).decode()}">'
            f"Save {name}</a>"
            for name, kind, data in files
        )

    def _differences(self) -> dict[int, tuple[int, Verdict]]:
        """How far the runs' pictures are from the baseline's, where that has been found."""
        baseline = self.baseline
        return {
            number: (other, verdict)
            for (number, other), verdict in self.session.run_state.verdicts.items()
            if baseline is not None and other == baseline.number
        }

    def _row(self, run: FinishedRun) -> HistoryRow:
        row = HistoryRow(run, self._look)
        row.select.observe(lambda _: self._show_selection(), "value")
        row.choose.on_click(partial(self._choose, row))
        row.restore.on_click(partial(self._restore, row))
        return row

    def _choose(self, row: HistoryRow, _: w.Button) -> None:
        self.session.run_state.baseline = row.run.number

    def _restore(self, row: HistoryRow, _: w.Button) -> None:
        self.session.use(row.run.plan)
        self.session.restore(row.run.wanted)

    def _rename(self) -> None:
        chosen = self.selection
        if len(chosen) == 1 and chosen[0].name != self.name.value.strip():
            self.session.rename_run(chosen[0].number, self.name.value.strip())

    def _show_selection(self) -> None:
        """Compare what is ticked, and offer what can be done with it."""
        chosen = self.selection
        self.files.value = ""
        self.tools.layout.display = None if chosen else "none"
        self.name.layout.display = None if len(chosen) == 1 else "none"
        if len(chosen) == 1:
            self.name.value = chosen[0].name
        rows = [
            (f"{run.title}: {describe_plan(run.used)}", run.trace.peak, run.trace.seconds_per_step)
            for run in chosen
        ]
        self.chart.value = (
            in_two_sizes(lambda frame: comparison_chart(rows, frame.width)) if rows else ""
        )
        self.wipe.show(*chosen) if len(chosen) == 2 else self.wipe.hide()
