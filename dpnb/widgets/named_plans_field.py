"""Buttons for plans that have a name, chosen from what is predicted for the next run."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from dpnb.planning.named_plans import NAMED_PLANS, NamedPlan
from dpnb.planning.plan_names import short_plan_name
from dpnb.planning.room_left import describe_shortage
from dpnb.planning.table import PlanError, PlanRow, PlanTable
from dpnb.units import format_bytes
from dpnb.widgets.background_planner import BackgroundPlanner
from dpnb.widgets.planned_request import PlannedRequest
from dpnb.widgets.session import Session
from dpnb.widgets.state import Request


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
        self._asked: tuple[PlannedRequest, object] | None = None
        self._planned: object = None
        self._table: PlanTable | None = None
        self.planner = BackgroundPlanner(session, self._on_plans)
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
        session = self._session
        try:
            asked = PlannedRequest.of(session, self._request())
        except (TypeError, ValueError) as error:
            self._say(f"{named.name}: {error}")
            return
        key = asked.fingerprint(session.pipe)
        if self._table is not None and self._planned == key:
            self._switch(named, self._table)
            return
        self._wanted, self._asked = named, (asked, key)
        self._say(f"{named.name}: predicting what each plan costs …")
        self._begin()

    def _begin(self) -> None:
        """Predict for what is asked for, unless plans are being made: then once these are."""
        with self._session.lock:
            assert self._asked is not None
            asked, key = self._asked
            if self.planner.start(asked.workload, None, asked.arguments):
                self._planned, self._table = key, None

    def _on_plans(self) -> None:
        """Plans have been made, or cannot be; others may have been asked for meanwhile."""
        state, named = self.planner.plan_state, self._wanted
        if named is None or self._asked is None or state.is_busy:
            return
        if self._planned != self._asked[1]:
            self._begin()
            return
        self._wanted = None
        if state.error or state.table is None:
            self._say(f"{named.name}: {state.error}")
            return
        self._table = state.table
        self._switch(named, state.table)

    def _switch(self, named: NamedPlan, table: PlanTable) -> None:
        able = table.choose(row for row in table if self._is_possible(row))
        try:
            row = named.choose(able)
        except PlanError as error:
            self._say(f"{named.name}: {error}")
            return
        if shortage := describe_shortage(table.device, row, self._session.pipe):
            self._say(f"{named.name}: {shortage}")
            return
        self._session.use(row.plan)
        if self._session.strategy_state.is_refused:
            return
        paid = "" if table.plain is None else f"; pays with {row.describe_price(table.plain)}"
        self._say(
            f"{named.name}: {short_plan_name(row.plan)}, predicted {format_bytes(row.peak)} and "
            f"{row.describe_time()} per picture{paid}."
        )

    def _is_possible(self, row: PlanRow) -> bool:
        return all(self._session.obstacle(strategy) is None for strategy in row.plan)

    def _make_button(self, named: NamedPlan) -> w.Button:
        button = w.Button(description=named.name, tooltip=named.summary, layout={"width": "auto"})
        button.on_click(lambda _: self.use(named))
        return button

    def _example(self) -> Request:
        return self._session.example.with_defaults(self._session.pipe)
