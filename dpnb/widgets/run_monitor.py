"""Sees the runs of a pipeline: measures them, tells how far they are, and keeps what they drew."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from contextlib import ExitStack
from functools import partial
from typing import Protocol

from typing_extensions import override

from dpnb.metering.clock import clock_for
from dpnb.metering.live import KnownCounts, LiveMeter, WeighedMeter
from dpnb.metering.recorder import Recorder
from dpnb.metering.trace import Trace
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.listeners import Run
from dpnb.pipelines.recording import reused_share
from dpnb.run_listener import Foresee, RunListener
from dpnb.stages import Stage, Step
from dpnb.strategies.out_of_memory import OutOfMemoryError
from dpnb.strategies.settings import describe_strategy, strategy_label
from dpnb.strategies.strategy import Plan, Strategy, in_order
from dpnb.widgets.browser_images import encode_png, lay_out_images
from dpnb.widgets.current_run import CurrentRun, ExpectedRun
from dpnb.widgets.job import StoppedError
from dpnb.widgets.panel_meters import panel_meter
from dpnb.widgets.run_previews import RunPreviews
from dpnb.widgets.run_progress import call_regularly, describe_progress, seconds_left
from dpnb.widgets.run_result import RunResult, describe_error, fill_in, finish_run
from dpnb.widgets.run_settings import try_to_describe_run
from dpnb.widgets.state import FinishedRun, Progress, Request, RunState

logger = logging.getLogger(__name__)

SAMPLE_EVERY = 0.1
TICKS_PER_CHART = 2
KEPT = 50
"""Runs whose pictures and traces are kept."""


class MonitoredSession(Protocol):
    """What a monitor needs of the session whose runs it hears of.

    Attributes:
        pipe: the pipeline.
        run_state: what the monitor writes into.
        lock: is held while the state changes.
    """

    pipe: ExplorablePipeline
    run_state: RunState
    lock: threading.RLock

    def apply_pending(self, is_between_steps: bool = False) -> None:
        """Make the changes that wait, unless a step is being computed."""

    def forget_effect(self) -> None:
        """A run is over: say no more from which of its steps something was in effect."""

    def find_memory_saver(self, request: Request, trace: Trace) -> Strategy | None:
        """The cheapest strategy with which a run that has failed is predicted to fit."""


class RunMonitor(RunListener[Run]):
    """Hears of the runs of a session's pipeline.

    A thread of its own writes progress, preview and measurements into the session's state, five
    times a second; the thread of the run only leaves them for it.

    Args:
        session: whose runs are heard of, and which makes the changes that wait between two steps.
    """

    def __init__(self, session: MonitoredSession) -> None:
        self._session = session
        self._state = session.run_state
        self._expected: ExpectedRun | None = None
        self._current: CurrentRun | None = None
        self._previews = RunPreviews(session.pipe, session.run_state)
        self._counts = KnownCounts()
        self._numbers = itertools.count(1)

    @property
    def is_running(self) -> bool:
        """Whether a run goes on."""
        return self._find_ongoing() is not None

    @property
    def is_expected(self) -> bool:
        """Whether a run is about to begin."""
        return self._expected is not None

    @property
    def is_busy(self) -> bool:
        """Whether a run goes on, is about to begin, or is over and not yet shown to be."""
        with self._session.lock:
            return self._current is not None or self._expected is not None

    @property
    def is_from_cell(self) -> bool:
        """Whether the run that goes on was begun by a cell."""
        current = self._find_ongoing()
        return current is not None and current.request is None

    @property
    def next_step(self) -> tuple[int, int] | None:
        """The denoising step that comes next, from 1, and how many there are, where one does."""
        current = self._find_ongoing()
        step = None if current is None else current.step
        if step is None or step.stage is not Stage.DENOISING or step.index + 1 == step.total:
            return None
        return step.index + 2, step.total

    def expect(self, expected: ExpectedRun | None) -> None:
        """The next run is this one; `None` if there will be none."""
        with self._session.lock:
            self._expected = expected

    def forget(self, request: Request, error: BaseException | None) -> None:
        """The run of `request` is over; if it never began, say why."""
        state, left = self._state, self._current
        if left is not None and left.request is request:
            left.cleanup.close()
            self._show_result(
                left, RunResult("The run is over.", "" if error is None else describe_error(error))
            )
        with self._session.lock:
            is_unbegun = self._expected is not None and self._expected.request is request
            if is_unbegun:
                self._expected = None
                is_stopped = isinstance(error, StoppedError)
                state.error = "" if error is None or is_stopped else describe_error(error)
                if self._current is None:
                    words = str(error) if is_stopped else "The run could not begin."
                    state.phase, state.message = "idle", words
            trace, memory_saver = state.trace, state.memory_saver
        self._session.apply_pending()
        if not is_unbegun and error is not None and memory_saver is not None and trace is not None:
            self._improve_memory_saver(request, trace, memory_saver, error)

    def _improve_memory_saver(
        self, request: Request, trace: Trace, memory_saver: Strategy, error: BaseException
    ) -> None:
        """Name the memory saver that would have been enough, where another was named first."""
        try:
            better = self._session.find_memory_saver(request, trace)
        except Exception:
            logger.info("no run could be simulated to find a better memory saver", exc_info=True)
            return
        cause = error.__cause__ if isinstance(error, OutOfMemoryError) else error
        reason = describe_error(error if cause is None else cause)
        with self._session.lock:
            state = self._state
            if better not in (None, memory_saver) and state.trace is trace:
                state.error = str(OutOfMemoryError(trace.steps[-1].stage, better, reason))
                state.memory_saver = better

    def note_change(self, before: Plan, after: Plan) -> None:
        """What is switched on has changed from one plan to the other."""
        if (current := self._find_ongoing()) is None:
            return
        current.used |= after
        if current.counting is not None:
            current.counting.note_change()
        current.note_plan(after)
        note, kinds = current.recorder.note, {type(strategy) for strategy in after}
        for strategy in in_order(before - after):
            if type(strategy) not in kinds:
                note(f"{strategy_label(type(strategy))} off")
        for strategy in in_order(after - before):
            note(f"{describe_strategy(strategy)} on")

    @override
    def begin_run(self, run: Run) -> None:
        if self._find_ongoing() is None:
            self._session.apply_pending(is_between_steps=True)
        with self._session.lock:
            if self._find_ongoing() is not None:
                return
            self._current = self._try_to_record(run)
            if self._current.request is not None:
                self._expected = None
            state = self._state
            state.error, state.memory_saver = "", None
            state.progress = Progress(Stage.TEXT, 0, 1)
            if state.phase == "idle":
                state.phase = "running"

    def _try_to_record(self, run: Run) -> CurrentRun:
        """What records a run: with the chosen meter or, as no run must end by it, another one."""
        try:
            return self._start_recording(run, self._state.meter)
        except Exception:
            logger.exception("the meter %r fails here; tensors are counted", self._state.meter)
            return self._start_recording(run, "tensors")

    def _start_recording(self, run: Run, name: str) -> CurrentRun:
        expected = self._expected
        is_own = expected is not None and expected.thread is threading.current_thread()
        request = expected.request if expected is not None and is_own else None
        device, plan = run.pipe.execution_device, run.pipe.strategies.active
        meter = panel_meter(self._session.pipe, name, run, self._counts)
        recorder = Recorder(meter, clock_for(device))
        names = [describe_strategy(strategy) for strategy in in_order(plan)]
        current = CurrentRun(run, recorder, recorder.begin_run(names), plan, plan, request)
        known = try_to_describe_run(self._session.pipe, request)
        current.settings, current.weights, current.makeup = known
        with ExitStack() as endings:
            if isinstance(meter, (LiveMeter, WeighedMeter)):
                current.counting = meter
            if not isinstance(meter, LiveMeter):
                endings.enter_context(recorder.sample_every(SAMPLE_EVERY))
            endings.enter_context(call_regularly(partial(self._tick, current)))
            current.cleanup = endings.pop_all()
        return current

    @override
    def begin_step(self, run: Run, stage: Stage) -> None:
        if (current := self._find(run)) is not None:
            current.recording.begin_step(stage)

    @override
    def after_prediction(self, run: Run, index: int, foresee: Foresee) -> None:
        if (current := self._find(run)) is not None:
            self._previews.note_prediction(current, index, foresee)

    @override
    def end_step(self, run: Run, step: Step) -> None:
        if (current := self._find(run)) is None:
            return
        current.recording.end_step(step.stage, reused_share(run, step))
        current.step = step
        if step.stage is Stage.DENOISING:
            current.step_ends.append(time.perf_counter())
            current.latents = step.latents
            self._previews.end_step(current, step)
        if current.request is None and self._state.phase == "stopping":
            run.pipe.interrupt_run()

    @override
    def between_steps(self, run: Run) -> None:
        if self._find(run) is not None:
            self._session.apply_pending(is_between_steps=True)

    @override
    def end_run(self, run: Run, error: BaseException | None) -> None:
        if (current := self._find(run)) is None:
            return
        with self._session.lock:
            current.is_over = True
        result = RunResult("The run is over.")
        try:
            self._session.apply_pending()
            result = finish_run(current, error, self._session.pipe)
            if error is None and current.counting is not None and not run.pipe.interrupt:
                current.counting.keep()
            if current.latents is not None and result.output.pictures:
                self._previews.learn(current.latents, result.output.middles)
        except Exception:
            logger.exception("a run is over, but cannot be shown")
        finally:
            self._show_result(current, result)
            self._session.forget_effect()

    def _show_result(self, current: CurrentRun, result: RunResult) -> None:
        """Show that a run is over: all of it at once, so that nobody sees a part.

        Where another one has begun since, what is shown is that one's.
        """
        state = self._state
        with self._session.lock, state.hold_trait_notifications():
            over = None if result.trace is None else self._finished_run(current, result)
            if over is not None:
                self._remember(over)
            if result.output:
                state.pictures = result.output.pictures
            failed = over.wanted if over is not None and result.error else None
            if self._current is not current:
                return
            self._current = None
            if over is not None:
                state.trace, state.failed = over.trace, failed
            if result.output:
                state.output = result.output
                state.picture, state.pictured = result.picture, current.request
                state.is_preview = False
            state.message, state.error, state.memory_saver = (
                result.message,
                result.error,
                result.memory_saver,
            )
            state.phase = "idle" if self._expected is None else "running"

    def _remember(self, run: FinishedRun) -> None:
        """Add a run to those before it; the oldest goes that is not the baseline."""
        state, runs = self._state, [*self._state.history, run]
        if not state.baseline and run.is_finished:
            state.baseline = run.number
        while len(runs) > KEPT:
            runs.remove(next(one for one in runs if one.number != state.baseline))
        state.keep_runs(runs)

    def _finished_run(self, current: CurrentRun, result: RunResult) -> FinishedRun:
        assert result.trace is not None
        return FinishedRun(
            next(self._numbers),
            None if current.request is None else fill_in(current.request, self._session.pipe),
            current.plan,
            current.used,
            result.trace,
            result.output.pictures,
            result.output,
            current.settings,
            tuple(current.plans),
            current.weights,
            asked=current.request,
            makeup=current.makeup,
        )

    def _find(self, run: Run) -> CurrentRun | None:
        """What is known of a run, if it is the one that goes on."""
        current = self._find_ongoing()
        return current if current is not None and current.run is run else None

    def _find_ongoing(self) -> CurrentRun | None:
        current = self._current
        return None if current is None or current.is_over else current

    def _tick(self, current: CurrentRun, count: int) -> None:
        if current is not self._find_ongoing():
            return
        self._show_step(current)
        self._show_preview(current)
        if count % TICKS_PER_CHART == 0:
            trace = current.recorder.trace
            with self._session.lock:
                if current is self._find_ongoing():
                    self._state.trace = trace

    def _show_step(self, current: CurrentRun) -> None:
        """Say how far the run is, if it is further than what was said last."""
        state, step = self._state, current.step
        if step is None or current.shown_step == (place := (step.stage, step.index)):
            return
        left = seconds_left(current.step_ends, step)
        progress = Progress(step.stage, step.index + 1, step.total, left)
        current.shown_step = place
        with self._session.lock:
            if current is not self._find_ongoing():
                return
            if state.phase == "running":
                state.message = describe_progress(progress)
            state.progress = progress

    def _show_preview(self, current: CurrentRun) -> None:
        state, images = self._state, self._previews.take(current)
        if images and (current.step is None or not current.step.output):
            picture = encode_png(lay_out_images(images), quick=True)
            with self._session.lock, state.hold_trait_notifications():
                if current is self._find_ongoing():
                    state.picture, state.pictured = picture, current.request
                    state.is_preview = True
