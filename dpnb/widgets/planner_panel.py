"""The panel of plans: which fit a budget, their predicted cost, and a button that sets one."""

from __future__ import annotations

import html
from dataclasses import replace
from functools import partial
from typing import Any

import ipywidgets as w

from dpnb.fidelity.visibility import LIMITS, allows_changes
from dpnb.planning.gpu_specs import GPU_SPECS
from dpnb.planning.picture_costs import ComparedPlans, PictureCosts, read_picture_costs
from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.planner import model_title
from dpnb.planning.room_left import describe_shortage
from dpnb.planning.table import PlanRow, PlanTable
from dpnb.planning.workload import Workload
from dpnb.planning.workload_arguments import USUAL_STEPS
from dpnb.strategies.strategy import Plan
from dpnb.widgets.background_planner import BackgroundPlanner
from dpnb.widgets.budget_dial import BudgetDial, default_budget, largest_peak
from dpnb.widgets.chart_frames import in_two_sizes
from dpnb.widgets.history_costs import find_picture_costs
from dpnb.widgets.panel import Panel, check_request, close_all, heading, status_html, status_line
from dpnb.widgets.plan_chart import describe_plan_chart, plan_chart
from dpnb.widgets.planned_request import FRAMES, PlannedRequest, costs_the_same, frames_of
from dpnb.widgets.planner_row import PlannerRow, compare_prediction
from dpnb.widgets.request_fields import describe_card_number
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.state import FinishedRun, Request

LABEL = {"description_width": "5.5em"}

SIDE = 512
"""Pixels along a side of what is planned for where the pipeline's own size is not known."""

HERE = "this one"

LINK = "simulated:8GiB/s"
"""To which offloading is shown on a machine without an accelerator."""

AGAIN = "Press What fits? for what the fields say now."

EMPTY = (
    '<div class="dpnb-empty">Press <b>What fits?</b> to see which switches fit into a budget of '
    "memory and what each is predicted to cost, before anything is drawn.</div>"
)


class PlannerPanel(Panel):
    """Plans within a budget.

    Args:
        pipe: the pipeline.
        request: whose size, steps and count are planned for at first.

    Attributes:
        measured: what plans do to the picture; that of the history where nobody says it.
    """

    def __init__(self, pipe: Any, request: Request | None = None) -> None:
        super().__init__(pipe)
        check_request(request)
        self.planner = BackgroundPlanner(self.session)
        self._cleanup.callback(self._forget_rows)
        self._cleanup.callback(self.planner.close)
        self.rows: list[PlannerRow] = []
        self.budget: BudgetDial | None = None
        self._drawn: PlanTable | None = None
        self._run: RunPanel | None = None
        self.measured: PictureCosts | None = None
        pipe = self.session.pipe
        asked = request or self.session.example
        asked = asked.with_card(pipe.call_signature, self.session.card_numbers)
        self._asked = asked.with_defaults(pipe)
        self._build(self._asked)
        self._bind()
        self.show()

    def plan(self) -> BackgroundPlanner:
        """Begin to plan for what the fields say; wait with the `wait` of what is returned."""
        try:
            asked = PlannedRequest.of(self.session, self.request)
        except (TypeError, ValueError) as error:
            self.planner.show_refusal(error)
        else:
            has_changes = allows_changes(self.picture.value)
            self.planner.start(
                asked.workload, self.device.value, asked.arguments, approximate=has_changes
            )
        return self.planner

    def use_report(self, report: ComparedPlans) -> None:
        """Predict what plans do to the picture from a sweep of the same model with quality.

        Args:
            report: of it.

        Raises:
            ValueError: it is of another model, or compares no pictures.
        """
        self.measured = read_picture_costs(model_title(self.session.pipe), report)
        self.show()

    @property
    def request(self) -> Request:
        """What is planned for: what the panel says that is followed, or else the fields here.

        Raises:
            TypeError: something was written that the pipeline does not take.
            ValueError: likewise.
        """
        if self._run is not None:
            return self._run.request
        frames = [] if self.frames is None else [(FRAMES, int(self.frames.value))]
        more = [(name, value) for name, value in self._asked.more if name != FRAMES]
        return replace(
            self._asked,
            height=self.height.value,
            width=self.width.value,
            count=self.count.value,
            steps=self.steps.value,
            more=(*more, *frames),
        )

    @property
    def workload(self) -> Workload:
        """What is planned for.

        Raises:
            TypeError: something was written that the pipeline does not take.
            ValueError: likewise.
        """
        return PlannedRequest.of(self.session, self.request).workload

    @property
    def table(self) -> PlanTable | None:
        """The plans, within the limits that are shown; `None` before there are any."""
        table, budget = self.planner.plan_state.table, self.planner.plan_state.budget
        if table is None:
            return None
        within = table.within(default_budget(table) if budget is None else budget)
        measured = self.measured or find_picture_costs(self.session)
        return within.limited(self.picture.value, measured)

    def follow(self, run: RunPanel) -> None:
        """Plan for what another panel draws: its fields are those of both from now on."""
        self._run = run
        if self.frames is not None:
            self.frames.layout.display = "none"
        for name in ("width", "height", "count", "steps"):
            if name not in run.fields.shown:
                continue
            field = getattr(self, name)
            link = w.link((getattr(run, name), "value"), (field, "value"))
            self._cleanup.callback(link.unlink)
            field.layout.display = "none"

    def show(self) -> None:
        """Bring everything to the plans and to what is on."""
        with self.session.lock:
            state, table = self.planner.plan_state, self.table
            self.ask.disabled = state.is_busy
            self.message.value = self._status(table)
            for part in (self.dial, self.list, self.more):
                part.layout.display = "none" if table is None else None
            self.empty.layout.display = None if table is None else "none"
            if table is not None:
                self._show(table)

    def _is_stale(self, table: PlanTable) -> bool:
        """Whether the fields ask for what costs something else than what was planned for."""
        try:
            is_same = costs_the_same(self.session.pipe, self.workload, table.workload)
        except (TypeError, ValueError):
            return True
        return not is_same or (allows_changes(self.picture.value) and not table.approximate)

    def _status(self, table: PlanTable | None) -> str:
        state, strategies = self.planner.plan_state, self.session.strategy_state
        if state.error:
            return status_html(state.error, "error")
        if strategies.is_refused:
            return status_html(strategies.message, "error")
        if strategies.wanted != strategies.active:
            return status_html(
                f"{short_plan_name(strategies.wanted)}: {strategies.message}", "wait"
            )
        if state.is_busy:
            return status_html(state.message, "wait")
        if table is not None and self._is_stale(table):
            words = f"These plans are for {_size_of(table)}. {AGAIN} {describe_plan_chart(table)}"
            return status_html(words, "wait")
        return status_html("" if table is None else describe_plan_chart(table))

    def _show(self, table: PlanTable) -> None:
        if self._drawn is not self.planner.plan_state.table:
            self._replace_rows(table)
        if self.budget is not None:
            self.budget.show(table.budget)
        active = self.session.strategy_state.wanted
        self.chart.value = in_two_sizes(lambda frame: plan_chart(table, active, frame.width))
        for part in (self.chart, self.list):
            (part.add_class if self._is_stale(table) else part.remove_class)("dpnb-stale")
        self.caption.value = _caption(table) + self._verdict(table)
        by_plan = {row.plan: row for row in self.rows}
        measured = self._measured(table)
        most = largest_peak(table)
        ordered = [by_plan[row.plan] for row in table]
        for entry, row in zip(ordered, table, strict=True):
            entry.show(row, table, most, active == row.plan, measured.get(row.plan))
        front = {row.plan for row in table.front} | {active}
        listed = [entry for entry in ordered if self.more.value or entry.plan in front]
        self.list.children = [entry.widget for entry in listed]
        self.more.layout.display = "none" if len(front) >= len(ordered) else None
        self.more.description = (
            "Only plans that none beats" if self.more.value else f"All {len(ordered)} plans"
        )

    def _replace_rows(self, table: PlanTable) -> None:
        """Other plans have been made: other rows, and another dial."""
        self._drawn = self.planner.plan_state.table
        self._forget_rows()
        self.rows = [PlannerRow(row, self._obstacle(row)) for row in table]
        for entry in self.rows:
            entry.use.on_click(partial(self._use, entry))
        self.budget = BudgetDial(table, table.budget, self._set_budget)
        self.dial.children = [self.budget]

    def _forget_rows(self) -> None:
        """Close all of them, listed or not, and the dial."""
        self.list.children = self.dial.children = ()
        for widget in (*(entry.widget for entry in self.rows), self.budget):
            if widget is not None:
                close_all(widget)
        self.rows, self.budget = [], None

    def _build(self, request: Request) -> None:
        unit = self.session.pipe.size_unit
        self.width = _number("Width", request.width or SIDE, unit, 1 << 14, unit)
        self.height = _number("Height", request.height or SIDE, unit, 1 << 14, unit)
        self.count = _number("Pictures", request.count, 1, 64)
        self.steps = _number("Steps", request.steps or USUAL_STEPS, 1, 1000)
        frames = frames_of(self.session.pipe, request)
        self.frames = _number("Frames", frames, 1, 1 << 14) if frames is not None else None
        is_cpu = self.session.pipe.execution_device.type == "cpu"
        beside: list[tuple[str, str | None]] = [(HERE, None)]
        if is_cpu:
            beside.append(("this one, offloading over a simulated link", LINK))
        self.device = w.Dropdown(
            description="Device",
            options=[*beside, *((name, name) for name in GPU_SPECS)],
            value=LINK if is_cpu else None,
            style=LABEL,
            layout={"width": "auto"},
        )
        self.picture = w.Dropdown(
            description="Picture",
            options=[(str(word), most) for word, most in LIMITS.items()],
            tooltip="What plans may do to the picture, known from compared runs",
            style=LABEL,
            layout={"width": "auto"},
        )
        self.ask = w.Button(description="What fits?", tooltip="Predict memory and time of plans")
        self.ask.add_class("dpnb-go")
        self.message, self.empty = status_line(), w.HTML(EMPTY)
        self.caption, self.chart, self.list = w.HTML(), w.HTML(), w.VBox()
        self.list.add_class("dpnb-rows")
        self.dial = w.VBox()
        self.more = w.ToggleButton(
            description="All plans", tooltip="List further plans", layout={"width": "auto"}
        )
        self._name_card()
        numbers = [self.width, self.height, self.frames, self.count, self.steps]
        shown = [one for one in numbers if one is not None]
        fields = w.Box([*shown, self.device, self.picture, self.ask])
        fields.add_class("dpnb-ask")
        self.fill(
            [
                heading("Plans"),
                *(fields, self.message, self.empty, self.dial),
                *(self.chart, self.caption, self.list, self.more),
            ]
        )

    def _name_card(self) -> None:
        steps, numbers = self.session.pipe.call_signature.steps, self.session.card_numbers
        fields = {"width": self.width, "height": self.height}
        fields |= {} if steps is None else {steps.name: self.steps}
        for name in fields.keys() & numbers.keys():
            fields[name].tooltip = describe_card_number(name, numbers[name])

    def _bind(self) -> None:
        self.ask.on_click(lambda _: self.plan())
        self.more.observe(lambda _: self.show(), "value")
        for field in (self.width, self.height, self.count, self.steps, self.picture):
            field.observe(lambda _: self.show(), "value")
        state = self.planner.plan_state
        self.watch(state, ["table", "budget", "message", "error"], lambda _: self.show())
        self.watch(self.session.strategy_state, "revision", lambda _: self.show())
        self.watch(self.session.run_state, ["history", "verdicts"], lambda _: self.show())

    def _set_budget(self, budget: int) -> None:
        self.planner.plan_state.budget = budget

    def _obstacle(self, row: PlanRow) -> str | None:
        found = (self.session.obstacle(strategy) for strategy in row.plan)
        return next((reason for reason in found if reason is not None), None)

    def _use(self, entry: PlannerRow, _: w.Button) -> None:
        table, pipe = self.planner.plan_state.table, self.session.pipe
        row = next((row for row in table or () if row.plan == entry.plan), None)
        if table and row and (reason := describe_shortage(table.device, row, pipe)):
            self.session.show_refusal(reason)
        else:
            self.session.use(entry.plan)

    def _measured(self, table: PlanTable) -> dict[Plan, FinishedRun]:
        """The last run of each plan that has drawn what is planned for."""
        pipe, found = self.session.pipe, {}
        for run in self.session.run_state.history:
            asked = run.request
            if asked is None or not run.is_finished or run.used != run.plan:
                continue
            if costs_the_same(
                pipe, PlannedRequest.of(self.session, asked).workload, table.workload
            ):
                found[run.plan] = run
        return found

    def _verdict(self, table: PlanTable) -> str:
        """Whether the last run has taken what was predicted for its plan, as HTML."""
        measured = list(self._measured(table).values())
        rows = {row.plan: row for row in table}
        last = max(measured, key=lambda run: run.number, default=None)
        if last is None or last.plan not in rows:
            return ""
        found = compare_prediction(rows[last.plan], last)
        words = f"{last.title}, {short_plan_name(last.plan)}: {found}."
        return f'<div class="dpnb-verdict">{html.escape(words)}</div>'


def _size_of(table: PlanTable) -> str:
    drawn = table.workload
    several = f", {drawn.batch} pictures" if drawn.batch > 1 else ""
    guidance = "" if drawn.guidance_scale is None else f", guidance {drawn.guidance_scale:g}"
    return f"{drawn.width} × {drawn.height}, {drawn.steps} steps{several}{guidance}"


def _caption(table: PlanTable) -> str:
    model = table.model.rpartition("/")[2]
    what = f"{model}, {table.workload.describe()}, on {table.device.name}"
    text = f"{what}. All figures are predicted."
    return f'<div class="dpnb-note" style="margin-left:0">{html.escape(text)}</div>'


def _number(name: str, value: int, least: int, most: int, step: int = 1) -> w.BoundedIntText:
    return w.BoundedIntText(
        value=value, min=least, max=most, step=step, description=name, style=LABEL,
        layout={"width": "auto"},
    )  # fmt: skip
