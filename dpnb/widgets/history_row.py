"""A row of the history: one run that is over."""

from __future__ import annotations

import base64
import html
from dataclasses import replace
from operator import is_not

import ipywidgets as w

from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.browser_images import encode_png, lay_out_images, make_thumbnail
from dpnb.widgets.picture_judge import Verdict
from dpnb.widgets.run_comparison import RunDifference, compare_runs
from dpnb.widgets.run_words import describe_switches, request_in_words
from dpnb.widgets.state import FinishedRun

SIDE = 112

ENDS = {"left": "stopped", "interrupted": "stopped"}
"""How runs have ended that did not finish, in words."""


class RowLook:
    """What the widgets of all rows have in common: a widget of its own for each would take as long
    to make as the rows themselves.

    Attributes:
        tick: the layout of their boxes.
        button: that of their buttons.
        rigid: that of what keeps its size.
        plain: that of all else.
        words: the style of words.
        button_style: that of buttons.
        tick_style: that of boxes.
    """

    def __init__(self) -> None:
        self.tick, self.button = w.Layout(width="7.5em"), w.Layout(width="auto")
        self.rigid, self.plain = w.Layout(flex="0 0 auto"), w.Layout()
        sample = w.HTML(), w.Button(), w.Checkbox()
        self.words, self.button_style, self.tick_style = (one.style for one in sample)
        for one in sample:
            one.layout.close()
            one.close()

    def close(self) -> None:
        """Nobody shows a row any more."""
        for part in vars(self).values():
            part.close()


class HistoryRow:
    """One run.

    Args:
        run: which one.
        look: what it has in common with the other rows.
    """

    def __init__(self, run: FinishedRun, look: RowLook) -> None:
        self.run = run
        self._compared: tuple[tuple[object, object], RunDifference] | None = None
        tick = {"layout": look.tick, "style": look.tick_style, "indent": False}
        self.select = w.Checkbox(description=run.title, **tick)
        self.select.tooltip = "Name, compare, save or delete it"
        button = {"layout": look.button, "style": look.button_style}
        self.choose = w.Button(description="Baseline", **button)
        self.restore = w.Button(description="Restore", **button)
        self._picture = w.HTML(_picture(run), layout=look.rigid, style=look.words)
        self._words = w.HTML(layout=look.plain, style=look.words)
        buttons = w.HBox([self.choose, self.restore], layout=look.rigid)
        self._parts = [self.select, self._picture, self._words, self.choose, self.restore, buttons]
        self.widget = w.Box([*self._parts[:3], buttons], layout=look.plain)
        self.widget.add_class("dpnb-row")

    def close(self) -> None:
        """The run is forgotten."""
        for part in (*self._parts, self.widget):
            part.unobserve_all()
            part.close()

    @property
    def words(self) -> str:
        """What is said of the run, as HTML."""
        return str(self._words.value)

    def show(
        self, run: FinishedRun, baseline: FinishedRun | None, verdict: Verdict | None = None
    ) -> None:
        """Say what a run took, and how it differs from the baseline.

        Args:
            run: the same run, with its present name, or another one in its place.
            baseline: what it is compared with.
            verdict: how far its picture is from the baseline's, once that is known.
        """
        if run.number != self.run.number:
            self.select.value, self._picture.value = False, _picture(run)
        self.run = run
        self.select.description = run.title
        self.choose.tooltip = f"Compare the others with run {run.number}"
        self.restore.tooltip = f"Ask for run {run.number} again, with what was switched on then"
        self.choose.disabled = baseline is run or not run.is_finished
        self._words.value = (
            f'<div class="dpnb-fit" data-run="{run.number}">'
            f"<div><b>{html.escape(describe_switches(run))}</b></div>"
            f"<div>{self._describe_cost()}</div>"
            f"<div>{self._describe_difference(baseline, verdict)}</div>"
            f"<div>{html.escape(request_in_words(run.request))}</div></div>"
        )

    def _compare(self, baseline: FinishedRun) -> RunDifference:
        """How the run differs from this one; pictures are compared once for each baseline."""
        traces = self.run.trace, baseline.trace
        if self._compared is None or any(map(is_not, self._compared[0], traces)):
            self._compared = traces, compare_runs(self.run, baseline)
        return self._compared[1]

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
        found = self._compare(baseline)
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
