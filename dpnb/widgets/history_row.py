"""A row of the history: one run that is over."""

from __future__ import annotations

import base64
import html
from dataclasses import replace

import ipywidgets as w

from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.browser_images import encode_png, lay_out_images, make_thumbnail
from dpnb.widgets.picture_judge import Verdict
from dpnb.widgets.run_comparison import compare_runs
from dpnb.widgets.run_words import describe_switches, request_in_words
from dpnb.widgets.state import FinishedRun

SIDE = 112

ENDS = {"left": "stopped", "interrupted": "stopped"}
"""How runs have ended that did not finish, in words."""


class HistoryRow:
    """One run.

    Args:
        run: which one.
    """

    def __init__(self, run: FinishedRun) -> None:
        self.run = run
        self.select = w.Checkbox(description=run.title, indent=False, layout={"width": "7.5em"})
        self.select.tooltip = "Name, compare, save or delete it"
        self.choose = w.Button(description="Baseline", layout={"width": "auto"})
        self.choose.tooltip = f"Compare the others with run {run.number}"
        self.restore = w.Button(description="Restore", layout={"width": "auto"})
        self.restore.tooltip = f"Ask for run {run.number} again, with what was switched on then"
        self._picture, self._words = w.HTML(_picture(run), layout={"flex": "0 0 auto"}), w.HTML()
        buttons = w.HBox([self.choose, self.restore], layout={"flex": "0 0 auto"})
        self.widget = w.Box([self.select, self._picture, self._words, buttons])
        self.widget.add_class("dpnb-row")

    @property
    def words(self) -> str:
        """What is said of the run, as HTML."""
        return str(self._words.value)

    def show(
        self, run: FinishedRun, baseline: FinishedRun | None, verdict: Verdict | None = None
    ) -> None:
        """Say what the run took, and how it differs from the baseline.

        Args:
            run: the same run, with its present name.
            baseline: what it is compared with.
            verdict: how far its picture is from the baseline's, once that is known.
        """
        self.run = run
        self.select.description = run.title
        self.choose.disabled = baseline is run or not run.is_finished
        self._words.value = (
            f'<div class="dpnb-fit"><div><b>{html.escape(describe_switches(run))}</b></div>'
            f"<div>{self._describe_cost()}</div>"
            f"<div>{self._describe_difference(baseline, verdict)}</div>"
            f"<div>{html.escape(request_in_words(run.request))}</div></div>"
        )

    def _describe_cost(self) -> str:
        trace, seconds = self.run.trace, self.run.trace.seconds_per_step
        took = f"<b>{format_seconds(trace.runs[0].duration)}</b>"
        each = "" if seconds is None else f" · {format_seconds(seconds)} per step"
        weights = trace.runs[0].begin.weights
        of_it = "" if weights is None else f", {format_bytes(weights)} of it weights"
        peak = f"<b>{format_bytes(trace.peak)}</b> at the peak{of_it}"
        return f"{took}{each} · {peak} <i>({html.escape(trace.label)})</i>"

    def _describe_difference(self, baseline: FinishedRun | None, verdict: Verdict | None) -> str:
        outcome = self.run.trace.runs[0].outcome
        if outcome != "finished":
            return html.escape(ENDS.get(outcome, outcome))
        if baseline is None or baseline is self.run:
            return "the baseline"
        found = compare_runs(self.run, baseline)
        if verdict is not None:
            found = replace(found, flip=verdict.flip, words=verdict.words)
        kind = "exact" if found.is_same else "stylistic"
        badge = f' <span class="dpnb-badge dpnb-{kind}">{found.badge}</span>' if found.badge else ""
        return f"{html.escape(str(found))}{badge}"


def _picture(run: FinishedRun) -> str:
    if not run.pictures:
        return '<div style="width:56px"></div>'
    data = base64.b64encode(encode_png(make_thumbnail(lay_out_images(run.pictures), SIDE))).decode()
    alt = html.escape(request_in_words(run.request), quote=True)
    return f'<img src="data:image/png;base64,{data}" alt="{alt}"/>'
