"""Buttons for plans that have a name, chosen from what is predicted for the next run."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from dpnb.planning.named_plans import NAMED_PLANS, NamedPlan
from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.table import PlanError, PlanRow, PlanTable
from dpnb.planning.workload import Workload
from dpnb.planning.workload_arguments import with_card
from dpnb.units import format_bytes, format_seconds
from dpnb.widgets.background_planner import BackgroundPlanner
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request

FRAMES = "num_frames"


class NamedPlansField:
    """One button for each named plan; a press predicts, where that is not known, and switches on.

    Args:
        session: whose pipeline is switched.
        say: is told in a sentence what goes on and what was chosen.

    Attributes:
        buttons: in the order of `NAMED_PLANS`.
        planner: predicts while nothing is drawn.
    """

    def __init__(self, session: Session, say: Callable[[str], None]) -> None:
        self._session, self._say = session, say
        self._request = self._example
        self._wanted: NamedPlan | None = None
        self._table: tuple[Workload, PlanTable] | None = None
        self.planner = BackgroundPlanner(session)
        self.planner.plan_state.observe(lambda _: self._on_plans(), "is_busy")
        self.buttons = [self._make_button(named) for named in NAMED_PLANS]

    def follow(self, request: Callable[[], Request]) -> None:
        """Plan for what somebody is about to ask for.

        Args:
            request: says it.
        """
        self._request = request

    def close(self) -> None:
        """Plan no further."""
        self._wanted = None
        self.planner.close()

    def use(self, named: NamedPlan) -> None:
        """Switch a named plan on, at once where plans are known for what is asked for now."""
        try:
            workload = self._workload()
        except (TypeError, ValueError) as error:
            self._say(f"{named.name}: {error}")
            return
        if self._table is not None and self._table[0] == workload:
            self._switch(named, self._table[1])
            return
        self._wanted, self._table = named, None
        self._planned = workload
        self._say(f"{named.name}: predicting what each plan costs …")
        self.planner.start(workload, None)

    def _on_plans(self) -> None:
        state, named = self.planner.plan_state, self._wanted
        if state.is_busy or named is None:
            return
        self._wanted = None
        if state.error or state.table is None:
            self._say(f"{named.name}: {state.error}")
            return
        self._table = self._planned, state.table
        self._switch(named, state.table)

    def _switch(self, named: NamedPlan, table: PlanTable) -> None:
        able = table.choose(row for row in table if self._is_possible(row))
        try:
            row = named.choose(able)
        except PlanError as error:
            self._say(f"{named.name}: {error}")
            return
        paid = "" if table.plain is None else f"; pays with {row.describe_price(table.plain)}"
        self._say(
            f"{named.name}: {short_plan_name(row.plan)}, predicted {format_bytes(row.peak)} and "
            f"{format_seconds(row.seconds_per_picture)} per picture{paid}."
        )
        self._session.use(row.plan)

    def _is_possible(self, row: PlanRow) -> bool:
        return all(self._session.obstacle(strategy) is None for strategy in row.plan)

    def _make_button(self, named: NamedPlan) -> w.Button:
        button = w.Button(description=named.name, tooltip=named.summary, layout={"width": "auto"})
        button.on_click(lambda _: self.use(named))
        return button

    def _example(self) -> Request:
        return self._session.example.with_defaults(self._session.pipe)

    def _workload(self) -> Workload:
        asked, session = self._request(), self._session
        signature = session.pipe.call_signature
        frames = dict(asked.more).get(FRAMES, signature.default(FRAMES))
        workload = Workload(
            height=asked.height,
            width=asked.width,
            batch=asked.count,
            steps=asked.steps,
            frames=frames if isinstance(frames, int) else None,
        )
        return with_card(signature, workload, session.card_numbers, dict(asked.more))
