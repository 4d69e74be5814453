"""The panel of the runs that are over, and of how they differ."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as w

from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.browser_images import encode_png, lay_out_images, make_thumbnail
from dpnb.widgets.charts import comparison_chart
from dpnb.widgets.panel import Panel, close_all, heading
from dpnb.widgets.run_comparison import REPEATABLE, compare_runs, describe_plan
from dpnb.widgets.state import FinishedRun

SIDE = 112
HINT = (
    '<div class="dpnb-note" style="margin-left:0">A process keeps memory that it has freed, so its '
    "peaks do not compare from run to run: for that, measure live tensors.</div>"
)


class HistoryPanel(Panel):
    """Each run a row, compared with a baseline that may be chosen.

    Args:
        pipe: the pipeline.
    """

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        self.rows: dict[int, HistoryRow] = {}
        self._compared_with: FinishedRun | None = None
        self.list, self.chart = w.VBox(), w.HTML()
        self.list.add_class("dpnb-rows")
        self.empty = w.HTML(
            '<div class="dpnb-empty">Every run becomes a row here: what it took, and what each '
            "switch changed.</div>"
        )
        self.hint = w.HTML()
        self.fill([heading("History"), self.empty, self.hint, self.chart, self.list])
        self.watch(self.session.run_state, ["history", "baseline"], lambda _: self.show())
        self.show()

    @property
    def baseline(self) -> FinishedRun | None:
        """The run with which the others are compared: the chosen one, or the first that drew."""
        runs: Sequence[FinishedRun] = self.session.run_state.history
        chosen = [run for run in runs if run.number == self.session.run_state.baseline]
        return next(iter([*chosen, *(run for run in runs if run.pictures)]), None)

    @property
    def selection(self) -> list[FinishedRun]:
        """The runs whose box is ticked."""
        return [row.run for row in self.rows.values() if row.select.value]

    def show(self) -> None:
        """Bring the rows to the runs that are over."""
        runs: Sequence[FinishedRun] = self.session.run_state.history
        kept = {run.number for run in runs}
        gone = [self.rows.pop(number) for number in list(self.rows) if number not in kept]
        baseline = self.baseline
        if baseline is not self._compared_with:
            for row in self.rows.values():
                row.show(baseline)
        self._compared_with = baseline
        for run in runs:
            if run.number not in self.rows:
                self.rows[run.number] = self._row(run)
                self.rows[run.number].show(baseline)
        self.list.children = [row.widget for row in reversed(self.rows.values())]
        self.empty.layout.display = "none" if runs else None
        self.hint.value = "" if all(run.trace.meter in REPEATABLE for run in runs) else HINT
        for row in gone:
            close_all(row.widget)
        if gone:
            self._draw_comparison()

    def _row(self, run: FinishedRun) -> HistoryRow:
        row = HistoryRow(run)
        row.select.observe(lambda _: self._draw_comparison(), "value")
        row.choose.on_click(partial(self._choose, run))
        row.restore.on_click(partial(self._restore, run))
        return row

    def _choose(self, run: FinishedRun, _: w.Button) -> None:
        self.session.run_state.baseline = run.number

    def _restore(self, run: FinishedRun, _: w.Button) -> None:
        self.session.use(run.plan)
        self.session.restore(run.request)

    def _draw_comparison(self) -> None:
        chosen = self.selection
        self.chart.value = (
            comparison_chart(
                [
                    (
                        f"{run.number}: {describe_plan(run.used)}",
                        run.trace.peak,
                        run.trace.seconds_per_step,
                    )
                    for run in chosen
                ]
            )
            if chosen
            else ""
        )


class HistoryRow:
    """One run.

    Args:
        run: which one.
    """

    def __init__(self, run: FinishedRun) -> None:
        self.run = run
        self.select = w.Checkbox(
            description=f"Run {run.number}", indent=False, layout={"width": "5.5em"}
        )
        self.select.tooltip = "Draw it in the comparison"
        self.choose = w.Button(description="Baseline", layout={"width": "auto"})
        self.choose.tooltip = f"Compare the others with run {run.number}"
        self.restore = w.Button(description="Restore", layout={"width": "auto"})
        self.restore.tooltip = f"Ask for run {run.number} again, with what was switched on then"
        self._picture, self._words = w.HTML(_picture(run), layout={"flex": "0 0 auto"}), w.HTML()
        self.widget = w.Box([self.select, self._picture, self._words, self.choose, self.restore])
        self.widget.add_class("dpnb-row")

    @property
    def words(self) -> str:
        """What is said of the run, as HTML."""
        return str(self._words.value)

    def show(self, baseline: FinishedRun | None) -> None:
        """Say what the run took, and how it differs from the baseline."""
        self.choose.disabled = baseline is self.run
        run, trace = self.run, self.run.trace
        seconds = trace.seconds_per_step
        facts = [
            (format_seconds(trace.runs[0].duration), "in all"),
            ("–" if seconds is None else format_seconds(seconds), "per step"),
        ]
        cells = "".join(f"<div><b>{value}</b><br>{name}</div>" for value, name in facts)
        peaks = ", ".join(
            f"{stage} {format_bytes(summary.peak)}" for stage, summary in trace.by_stage().items()
        )
        self._words.value = (
            f'<div class="dpnb-cells">{cells}<div><b>{html.escape(describe_plan(run.used))}</b>'
            f"<br>{self._describe_difference(baseline)}</div>"
            f'<div class="wide">{html.escape(_describe_request(run))} · peak: {peaks}</div></div>'
        )

    def _describe_difference(self, baseline: FinishedRun | None) -> str:
        outcome = self.run.trace.runs[0].outcome
        if outcome != "finished":
            return html.escape({"left": "stopped"}.get(outcome, outcome))
        if baseline is None or baseline is self.run:
            return "the baseline"
        found = compare_runs(self.run, baseline)
        kind = "exact" if found.is_same else "stylistic"
        badge = f' <span class="dpnb-badge dpnb-{kind}">{found.badge}</span>' if found.badge else ""
        return f"{html.escape(str(found))}{badge}"


def _picture(run: FinishedRun) -> str:
    if not run.pictures:
        return '<div style="width:56px"></div>'
    data = base64.b64encode(encode_png(make_thumbnail(lay_out_images(run.pictures), SIDE))).decode()
    alt = html.escape(_describe_request(run), quote=True)
    return f'<img src="data:image/png;base64,{data}" alt="{alt}"/>'


def _describe_request(run: FinishedRun) -> str:
    request: Any = run.request
    if request is None:
        return "begun from a cell"
    steps = "" if request.steps is None else f", {request.steps} steps"
    return f"{request.prompt}, seed {request.seed}{steps}"
