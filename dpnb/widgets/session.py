"""Runs of one pipeline, on a thread of their own, and switches that land between two steps.

All panels of a pipeline share one session. It hears of every run of the pipeline, whoever has
started it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping
from contextvars import copy_context
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, TypeAlias
from weakref import WeakValueDictionary

from typing_extensions import Self

from dpnb.metering.trace import Trace
from dpnb.pipelines.attached.attach import to_explorable
from dpnb.pipelines.card_numbers import read_card_numbers
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.strategies.strategy import Plan, Strategy
from dpnb.widgets.current_run import ExpectedRun
from dpnb.widgets.job import Job
from dpnb.widgets.lora_adapters import LoraAdapters
from dpnb.widgets.panel_meters import meters_on, panel_meter
from dpnb.widgets.run_monitor import RunMonitor
from dpnb.widgets.run_queue import RunQueue
from dpnb.widgets.run_result import describe_error, predict_memory_saver
from dpnb.widgets.scheduler_choice import choose_scheduler
from dpnb.widgets.session_error import SessionError
from dpnb.widgets.state import EXAMPLE, Request, RunState, StrategyState

logger = logging.getLogger(__name__)

Change: TypeAlias = Callable[[Plan], Plan]

_sessions: WeakValueDictionary[int, Session] = WeakValueDictionary()
_opening = threading.RLock()


class Session:
    """One pipeline, its runs and its switches, as all of its panels use them.

    Made by `Session.of(pipe)`; whoever has called that calls `close` in the end.

    Everything may be called from any thread and returns at once. Strategies are never changed while
    a step is being computed: what is asked for meanwhile waits for its end.

    Args:
        pipe: the pipeline.

    Attributes:
        strategy_state: what is switched on, to be observed.
        run_state: the present run and those before it, to be observed.
        queue: the runs that wait for their turn.
        lock: whoever shows the state holds it, so that it does not change meanwhile.
    """

    def __init__(self, pipe: ExplorablePipeline) -> None:
        self.pipe = pipe
        active = pipe.strategies.active
        self.strategy_state = StrategyState(active=active, wanted=active)
        self.run_state = RunState(meter=meters_on(pipe.execution_device)[0])
        self.lock = threading.RLock()
        self._pending: list[Change] = []
        self._is_applying = False
        self._job: Job | None = None
        self._users = 0
        self._monitor = RunMonitor(self)
        self.queue = RunQueue(self)
        self._subscriptions = [
            pipe.watch(self._monitor),
            pipe.strategies.subscribe(self._on_plan_change),
        ]

    @classmethod
    def of(cls, pipe: Any) -> Self:
        """The session of `pipe`, for one more user, who closes it in the end.

        Args:
            pipe: a pipeline; one that was not written here is attached, and stays so.

        Raises:
            AttachError: it is no pipeline, or one that cannot be attached.
        """
        with _opening:
            explored = to_explorable(pipe)
            session = _sessions.get(id(explored))
            if session is None:
                session = _sessions[id(explored)] = cls(explored)
            session._users += 1
        return session  # type: ignore[return-value]

    def close(self) -> None:
        """One user has gone; with the last one the session ends, and a run of its own with it."""
        with _opening:
            self._users -= 1
            if self._users > 0:
                return
            _sessions.pop(id(self.pipe), None)
        self.queue.clear()
        self.stop()
        for end in self._subscriptions:
            end()
        self._subscriptions = []

    def enable(self, strategy: Strategy) -> None:
        """Switch a strategy on, now or before the next step, in place of its like."""
        self.change(lambda plan: frozenset(s for s in plan if s.slot != strategy.slot) | {strategy})

    def disable(self, kind: type[Strategy]) -> None:
        """Switch the strategy of this class off, now or before the next step."""
        self.change(lambda plan: frozenset(s for s in plan if not isinstance(s, kind)))

    def use(self, plan: Plan) -> None:
        """Make exactly the strategies of `plan` active, now or before the next step."""
        self.change(lambda _: plan)

    def change(self, change: Change) -> None:
        """Ask for the plan that `change` makes of the present one."""
        with self.lock:
            is_waiting = self._monitor.is_running or self._monitor.is_expected
            if not is_waiting and self.pipe.strategies.is_running:
                self._show(
                    "Another pipeline with these networks is drawing; try again when it is done.",
                    is_refused=True,
                )
                return
            self._pending.append(change)
            if is_waiting:
                self._show(f"takes effect {self._describe_next_step()}")
                return
        self.apply_pending()

    def apply_pending(self, is_between_steps: bool = False) -> None:
        """Make the changes that wait, unless a step is being computed.

        One thread at a time does it, in the order of asking, and without the lock: switching may
        wait for a thread that tells this session of what it has switched.

        Args:
            is_between_steps: whether this is called by the run itself.
        """
        while changes := self._take_pending(is_between_steps):
            try:
                self._apply(changes)
            finally:
                self._is_applying = False

    def _take_pending(self, is_between_steps: bool) -> list[Change]:
        """The changes that wait, if it is for this thread to make them now."""
        with self.lock:
            if self._is_applying or (self._monitor.is_running and not is_between_steps):
                return []
            changes, self._pending = self._pending, []
            self._is_applying = bool(changes)
            return changes

    def _apply(self, changes: list[Change]) -> None:
        stack, refusals = self.pipe.strategies, []
        for change in changes:
            try:
                stack.use(change(stack.active))
            except Exception as refusal:
                refusals.append(describe_error(refusal))
        with self.lock:
            self._show(
                refusals[-1] if refusals else self._describe_effect(), is_refused=bool(refusals)
            )

    def forget_effect(self) -> None:
        """A run is over: from which of its steps something was in effect is of no use any more."""
        with self.lock:
            state = self.strategy_state
            if state.message and not state.is_refused and state.wanted == state.active:
                self._show("")

    def show_refusal(self, reason: str) -> None:
        """Show why a request was refused before it came here, and everything else as it is."""
        with self.lock:
            self._show(reason, is_refused=True)

    def obstacle(self, strategy: Strategy) -> str | None:
        """Why a strategy cannot be switched on here; `None` where it can, or is on already."""
        if strategy in self.strategy_state.active:
            return None
        try:
            return self.pipe.strategies.obstacle(strategy)
        except Exception as error:
            logger.exception("nobody can tell whether %r serves here", strategy)
            return f"Whether it serves here cannot be told: {describe_error(error)}"

    def find_memory_saver(self, request: Request, trace: Trace) -> Strategy | None:
        """The cheapest strategy with which a run that has failed is predicted to fit.

        Args:
            request: what was drawn.
            trace: of the run.

        Returns:
            `None` where that is not known.
        """
        return None if self.is_drawing else predict_memory_saver(self.pipe, request, trace)

    def _on_plan_change(self, plan: Plan) -> None:
        with self.lock:
            self._monitor.note_change(self.strategy_state.active, plan)
            self.strategy_state.active = plan
            self._show(self.strategy_state.message, self.strategy_state.is_refused)

    def _show(self, message: str, is_refused: bool = False) -> None:
        plan = self.pipe.strategies.active
        for change in self._pending:
            plan = change(plan)
        state = self.strategy_state
        with state.hold_trait_notifications():
            state.active, state.wanted = self.pipe.strategies.active, plan
            state.message, state.is_refused = message, is_refused
            state.revision += 1

    def _describe_next_step(self) -> str:
        place = self._monitor.next_step
        if place is not None and place[0] < place[1]:
            return f"at step {place[0] + 1} of {place[1]}"
        return "before the next step"

    def _describe_effect(self) -> str:
        place = self._monitor.next_step
        return f"in effect from step {place[0]} of {place[1]}" if place else ""

    @cached_property
    def loras(self) -> LoraAdapters:
        """The low-rank weights of the pipeline."""
        return LoraAdapters(self)

    @property
    def is_attached(self) -> bool:
        """Whether the pipeline was not written here."""
        return self.pipe.is_attached

    @property
    def example(self) -> Request:
        """What is asked for until somebody has words of their own."""
        has_own = self.is_attached or bool(self.card_numbers)
        return Request(EXAMPLE.prompt) if has_own else EXAMPLE

    @cached_property
    def card_numbers(self) -> Mapping[str, float]:
        """What the model card of the checkpoint shows in a call, by the names of the call."""
        return read_card_numbers(self.pipe)

    @property
    def is_drawing(self) -> bool:
        """Whether a run of these networks goes on or is about to begin."""
        return self._monitor.is_busy or self.pipe.strategies.is_running

    @property
    def scheduler_name(self) -> str | None:
        """The class of the present scheduler; `None` where the pipeline has none."""
        scheduler = self.pipe.scheduler
        return None if scheduler is None else type(scheduler).__name__

    def start(self, request: Request) -> Job:
        """Begin to draw, on a thread of its own.

        Raises:
            SessionError: a run is going on.
            ValueError: something about the request is impossible.
        """
        with self.lock:
            if self._monitor.is_busy:
                raise SessionError("A run is going on; wait for its end, or stop it first.")
            self._monitor.expect(ExpectedRun(request))
        scheduler = self.pipe.scheduler
        try:
            run = self._prepare(request)
            return self.begin(self.make_job(request, run), request)
        except BaseException:
            with self.lock:
                self._monitor.expect(None)
                if not self._monitor.is_busy:
                    self.run_state.phase = "idle"
            self.apply_pending()
            if self.pipe.scheduler is not scheduler:
                self.pipe.scheduler = scheduler
            raise

    def expect(self, expected: ExpectedRun) -> None:
        """The next run is this one: nobody else may begin one."""
        self._monitor.expect(expected)

    def make_job(
        self, request: Request, run: Callable[[], Any] | None = None, plan: Plan | None = None
    ) -> Job:
        """What draws a request on the thread that begins it.

        Args:
            request: what to draw.
            run: draws it; by default it is made when the job begins.
            plan: what to switch on for it; where that is refused nothing is drawn. `None` leaves
                everything as it is then.
        """

        def work() -> Any:
            if plan is not None:
                self.pipe.strategies.use(plan)
            return (run or self._prepare(request))()

        return Job(self.pipe, work, partial(self._end, request), request)

    def _prepare(self, request: Request) -> Callable[[], Any]:
        """A run of `request`, with the scheduler that it asks for."""
        chosen = choose_scheduler(
            self.pipe.scheduler, request.scheduler, request.scheduler_settings
        )
        if chosen is not self.pipe.scheduler:
            self.pipe.scheduler = chosen
        return self.pipe.make_run(**request.arguments(self.pipe.call_signature))

    def _end(self, request: Request, error: BaseException | None) -> None:
        """A run of this session is over: show that, and begin the next one."""
        self._monitor.forget(request, error)
        if error is None:
            self.queue.go_on()

    def begin(self, job: Job, request: Request) -> Job:
        """Start the thread of a job, and show that it runs."""
        thread = threading.Thread(target=partial(copy_context().run, job.work), daemon=True)
        with self.lock:
            self._monitor.expect(ExpectedRun(request, thread))
            state = self.run_state
            state.phase, state.message, state.error = "running", "Reading …", ""
            thread.start()
            self._job = job
        return job

    def rename_run(self, number: int, name: str) -> None:
        """Give a run that is over a name."""
        with self.lock:
            state = self.run_state
            state.history = tuple(
                replace(run, name=name) if run.number == number else run for run in state.history
            )

    def forget_runs(self, numbers: Collection[int]) -> None:
        """Take runs that are over out of the history."""
        with self.lock, self.run_state.hold_trait_notifications():
            state = self.run_state
            state.keep_runs(run for run in state.history if run.number not in numbers)
            if state.baseline in numbers:
                first = (run.number for run in state.history if run.is_finished)
                state.baseline = next(first, 0)

    def restore(self, request: Request | None) -> None:
        """Let fields ask for this again; for nothing where a cell had asked."""
        self.run_state.restored = None
        self.run_state.restored = request

    def stop(self) -> None:
        """End the run after the present step; nothing happens without one.

        A run that a cell has begun decodes what it has then, and returns it there.
        """
        with self.lock:
            if self._monitor.is_from_cell:
                self.pipe.interrupt_run()
            elif self._job is not None and (self._monitor.is_running or self._monitor.is_expected):
                self._job.cancel()
            else:
                return
            self.run_state.phase, self.run_state.message = "stopping", "Stopping after this step …"

    def measure_with(self, meter: str) -> None:
        """Measure the runs that begin from now on with this meter.

        Args:
            meter: `"live"`, `"cuda"`, `"host"` or `"tensors"`.

        Raises:
            ValueError: there is no such meter.
            MeterError: it cannot read anything here.
        """
        panel_meter(self.pipe, meter)
        self.run_state.meter = meter

    @property
    def job(self) -> Job | None:
        """The run that a panel has started last."""
        return self._job
