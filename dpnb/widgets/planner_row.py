"""A row of the panel of plans: one plan, and what it has cost where it has drawn."""

from __future__ import annotations

import html

import ipywidgets as w

from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.table import PlanRow, PlanTable
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.panel_meters import WITH_WEIGHTS
from dpnb.widgets.state import FinishedRun


class PlannerRow:
    """One plan.

    Args:
        row: it and its prediction.
        obstacle: why it cannot be switched on here; `None` where it can.
    """

    def __init__(self, row: PlanRow, obstacle: str | None) -> None:
        self.plan, self._obstacle = row.plan, obstacle
        self.use = w.Button(description="Use", layout={"width": "auto"})
        self.use.tooltip = obstacle or f"Switch on exactly this: {short_plan_name(row.plan)}"
        self._words = w.HTML()
        self.widget = w.Box([self._words, self.use])
        self.widget.add_class("dpnb-row")
        self.widget.add_class("dpnb-plan")

    @property
    def words(self) -> str:
        """What is said of the plan, as HTML."""
        return str(self._words.value)

    def show(
        self, row: PlanRow, table: PlanTable, most: int, is_on: bool, run: FinishedRun | None
    ) -> None:
        """Say what the plan costs, whether it fits, and whether it is on.

        Args:
            row: the plan.
            table: with the budget.
            most: bytes of the largest plan.
            is_on: whether exactly this is switched on.
            run: that has drawn with it; `None` without any.
        """
        fits = table.fits(row)
        is_best = fits and row is table.rows[0]
        self.use.disabled = is_on or self._obstacle is not None
        self.use.description = "In use" if is_on else "Use"
        mark = (
            ("fastest that fits" if is_best else "fits") if fits else _describe_excess(row, table)
        )
        badge = f'<span class="dpnb-badge dpnb-{"exact" if fits else "approximate"}">{mark}</span>'
        beside = (
            "" if run is None else f" · {html.escape(run.title)}: {compare_prediction(row, run)}"
        )
        self._words.value = (
            f'<div class="dpnb-fit{"" if fits else " dpnb-unfit"}">'
            f"<div><b>{html.escape(short_plan_name(row.plan))}</b> {badge}</div>"
            f"{_bar(row, table, most)}"
            f"<div><b>{format_bytes(row.peak)}</b> at the peak{_describe_card(row)} · "
            f"<b>{row.describe_time()}</b> per picture · "
            f"bound by {row.bound_by}{_describe_price(row, table)}{beside}</div></div>"
        )


def _describe_excess(row: PlanRow, table: PlanTable) -> str:
    """Why a plan does not fit."""
    if row.needed > table.budget:
        return "perhaps" if table.may_fit(row) else "too large"
    return "picture unknown" if row.difference is None else "changes the picture"


def _describe_card(row: PlanRow) -> str:
    """What a card gives for that peak."""
    return "" if row.memory is None else f" of tensors ({row.memory.describe()})"


def _describe_price(row: PlanRow, table: PlanTable) -> str:
    """What the plan costs beside none, and what it does to the picture."""
    if table.plain is None or not row.plan:
        return ""
    picture = "" if row.is_exact else f" · picture: {row.describe_picture()}"
    return f" · pays with {row.describe_price(table.plain)}{picture}"


def compare_prediction(row: PlanRow, run: FinishedRun) -> str:
    """What was predicted, and what a run has taken."""
    seconds = run.trace.runs[0].duration / (1 if run.request is None else run.request.count)
    time = f"predicted {row.describe_time()} per picture, took {format_seconds(seconds)}"
    if run.trace.meter not in WITH_WEIGHTS:
        return time
    return f"predicted {format_bytes(row.peak)}, took {format_bytes(run.trace.peak)}; {time}"


def _bar(row: PlanRow, table: PlanTable, most: int) -> str:
    """The peaks of the stages against the budget, drawn as one bar."""
    scale = 100 / max(most, 1)
    stages = ", ".join(f"{name} {format_bytes(peak)}" for name, peak in row.peaks.items())
    words = html.escape(f"Peak by stage: {stages}.", quote=True)
    colour = "var(--dpnb-blue)" if table.fits(row) else "var(--dpnb-soft)"
    return (
        f'<div class="dpnb-peak" role="img" aria-label="{words}" title="{words}">'
        f'<div style="width:{scale * row.needed:.1f}%;background:{colour}"></div>'
        f'<i style="left:{min(scale * table.budget, 100):.1f}%"></i></div>'
    )
