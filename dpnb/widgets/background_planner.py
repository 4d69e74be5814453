"""Makes the plans of a pipeline on a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from functools import partial
from typing import Any

from traitlets import Bool, Instance, Int, Unicode

from dpnb.planning.planner import Planner, model_title, profile_for
from dpnb.planning.simulation import Simulation
from dpnb.planning.table import PlanRow, PlanTable
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.workload import Workload
from dpnb.widgets.run_result import describe_error
from dpnb.widgets.session import Session
from dpnb.widgets.state import State
from dpnb.widgets.waiting import wait_for_end

PAUSE = 0.1
"""Seconds after which it is seen whether a run is over."""

TELL_EVERY = 0.3
"""Seconds between two sentences about how far planning is."""


class PlanState(State):
    """The plans, and what becomes of them."""

    table = Instance(PlanTable, allow_none=True)
    """What was predicted last."""

    budget = Int(None, allow_none=True)
    """Bytes that somebody has set; without that, what the device has decides."""

    is_busy = Bool(False)
    """Whether plans are being made."""

    message = Unicode()
    """How far that is, in words."""

    error = Unicode()
    """Why there are no plans; empty otherwise."""


class BackgroundPlanner:
    """Makes plans while nothing is drawn, and shows them in its state.

    Args:
        session: whose pipeline is planned for.
        on_end: is called once planning is over, without the session's lock, and before that is
            known to whoever waits; it may begin to plan again.

    Attributes:
        plan_state: to be observed; it is written from the thread that plans.
    """

    def __init__(self, session: Session, on_end: Callable[[], None] | None = None) -> None:
        self._session, self._on_end = session, on_end
        self.plan_state = PlanState()
        self._stop = threading.Event()
        self._done = threading.Event()
        self._done.set()

    def start(
        self,
        workload: Workload,
        device: str | None,
        arguments: Mapping[str, Any] | None = None,
        *,
        approximate: bool = False,
    ) -> bool:
        """Begin to plan, unless that is going on; returns at once.

        Args:
            workload: what is drawn.
            device: as for `dpnb.plan`.
            arguments: further ones of the pipeline's call, by name.
            approximate: whether plans may change the picture.

        Returns:
            Whether it begins.
        """
        plan = partial(self._plan, workload, device, arguments, approximate)
        work = partial(copy_context().run, self._work, plan)
        with self._session.lock, self.plan_state.hold_trait_notifications():
            if self.plan_state.is_busy:
                return False
            self._done.clear()
            self.plan_state.is_busy, self.plan_state.error = True, ""
            self.plan_state.message = "Waiting for the run to end …"
        try:
            threading.Thread(target=work, daemon=True).start()
        except RuntimeError as failure:
            self._end(None, describe_error(failure))
        return True

    def wait(self, timeout: float | None = None) -> PlanTable:
        """Wait for the plans.

        Raises:
            TimeoutError: they are still being made.
            ValueError: there are none; the message says why.
        """
        wait_for_end(self._done, timeout, "plans are still being made")
        if self.plan_state.table is None or self.plan_state.error:
            raise ValueError(self.plan_state.error or "No plans have been asked for; start first.")
        return self.plan_state.table

    def show_refusal(self, error: Exception) -> None:
        """Say why planning cannot begin."""
        self.plan_state.error = describe_error(error)

    def close(self) -> None:
        """Plan no further."""
        self._stop.set()

    def _work(self, plan: Callable[[], PlanTable | None]) -> None:
        table, error = None, ""
        try:
            table = plan()
        except Exception as failure:
            error = describe_error(failure)
        finally:
            self._end(table, error)

    def _end(self, table: PlanTable | None, error: str) -> None:
        state = self.plan_state
        try:
            with self._session.lock, state.hold_trait_notifications():
                state.is_busy, state.message, state.error = False, "", error
                if table is not None:
                    state.table = table
            if self._on_end is not None:
                self._on_end()
        finally:
            with self._session.lock:
                if not state.is_busy:
                    self._done.set()

    def _plan(
        self,
        workload: Workload,
        device: str | None,
        arguments: Mapping[str, Any] | None,
        approximate: bool,
    ) -> PlanTable | None:
        valueless_mode = ValuelessTensors()
        pipe = self._session.pipe
        copy = self._copy_pipeline(valueless_mode)
        if copy is None:
            return None
        profile = profile_for(device, pipe)
        planner = Planner(
            Simulation(copy, valueless_mode, workload, profile, arguments),
            None,
            approximate=approximate,
        )
        rows: list[PlanRow] = []
        shown_at = 0.0
        for row in planner.rows():
            if self._stop.is_set():
                return None
            rows.append(row)
            if time.monotonic() > shown_at + TELL_EVERY:
                shown_at = time.monotonic()
                self.plan_state.message = f"{len(rows)} plans so far …"
        return planner.table(model_title(pipe), rows)

    def _copy_pipeline(self, valueless_mode: ValuelessTensors) -> Any:
        """The pipeline without weights, made where nothing is drawn; `None` after `close`."""
        while not self._stop.is_set():
            if not self._session.is_drawing:
                self.plan_state.message = "Planning …"
                return build_valueless_pipeline(self._session.pipe, valueless_mode)
            self._stop.wait(PAUSE)
        return None
