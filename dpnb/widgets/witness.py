"""Sees the runs of a pipeline: measures them, tells how far they are, and keeps what they drew."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from torch import Tensor

from dpnb.metering.clock import clock_for
from dpnb.metering.meter import meter_for
from dpnb.metering.recorder import Recorder, RunRecorder
from dpnb.metering.trace import Trace
from dpnb.pipelines.previews import LatentColours, colours_of, decoded
from dpnb.pipelines.recording import outcome_of
from dpnb.pipelines.steps import Stage, Step
from dpnb.pipelines.watching import Run, RunListener
from dpnb.strategies.relief import OutOfMemoryError, is_out_of_memory, relief
from dpnb.strategies.settings import describe, label_of
from dpnb.strategies.strategy import Plan, Strategy, in_order
from dpnb.units import format_seconds
from dpnb.widgets.pictures import mosaic, png
from dpnb.widgets.remedy import fitting
from dpnb.widgets.state import FinishedRun, Progress, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dpnb.widgets.session import Session

SAMPLE_EVERY = 0.1
TICK = 0.2
TICKS_PER_CHART = 2
KEPT = 50
"""Runs whose pictures and traces are kept."""


@dataclass(eq=False)
class Present:
    """The run that goes on."""

    run: Run
    recorder: Recorder
    recording: RunRecorder
    plan: Plan
    used: Plan
    request: Request | None
    endings: ExitStack = field(default_factory=ExitStack)
    step: Step | None = None
    ends: list[float] = field(default_factory=list)
    seen: Step | None = None
    decoded: list[Image.Image] | None = None
    latents: Tensor | None = None


class Witness(RunListener):
    """Hears of the runs of a session's pipeline.

    A thread of its own writes progress, preview and measurements into the session's state, five
    times a second; the thread of the run only leaves them for it.

    Args:
        session: whose `runs` are written, and which is told when switches may land.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._state = session.runs
        self._expected: Request | None = None
        self._present: Present | None = None
        self._colours: LatentColours | None = colours_of(session.pipe.name_or_path)

    @property
    def is_running(self) -> bool:
        """Whether a run goes on."""
        return self._present is not None

    @property
    def is_busy(self) -> bool:
        """Whether one goes on or is about to begin."""
        return self.is_running or self._expected is not None

    @property
    def next_step(self) -> tuple[int, int] | None:
        """The denoising step that comes next, from 1, and how many there are, where one does."""
        step = None if self._present is None else self._present.step
        if step is None or step.stage is not Stage.DENOISING or step.index + 1 == step.total:
            return None
        return step.index + 2, step.total

    def expect(self, request: Request) -> None:
        """The next run is that of `request`."""
        self._expected = request

    def forget(self, request: Request, error: BaseException | None) -> None:
        """The run of `request` is over; if it never began, say why."""
        state = self._state
        if self._expected is request:
            self._expected = None
            state.error = str(error)
            state.phase, state.message = "idle", "The run could not begin."
        elif state.remedy is not None and state.trace is not None:
            self._improve(request, state.trace, state.remedy, error)

    def _improve(
        self, request: Request, trace: Trace, remedy: Strategy, error: BaseException | None
    ) -> None:
        """Name the switch that would have been enough, where another one was named first."""
        better = fitting(self._session, request, trace)
        if better not in (None, remedy) and self._state.remedy is remedy:
            cause = error.__cause__ if isinstance(error, OutOfMemoryError) else error
            reason = str(cause).strip() or type(cause).__name__
            self._state.error = str(OutOfMemoryError(trace.steps[-1].stage, better, reason))
            self._state.remedy = better

    def note_change(self, before: Plan, after: Plan) -> None:
        """What is switched on has changed from one plan to the other."""
        if self._present is None:
            return
        self._present.used |= after
        note, kinds = self._present.recorder.note, {type(strategy) for strategy in after}
        for strategy in in_order(before - after):
            if type(strategy) not in kinds:
                note(f"{label_of(type(strategy))} off")
        for strategy in in_order(after - before):
            note(f"{describe(strategy)} on")

    # --- what is heard ---

    def begin_run(self, run: Run) -> None:
        """See the base class."""
        with self._session.lock:
            if self._present is not None:
                return
            device, plan = run.pipe._execution_device, run.pipe.strategies.active
            meter = meter_for(device, self._state.meter)  # type: ignore[arg-type]
            recorder = Recorder(meter, clock_for(device))
            names = [describe(strategy) for strategy in in_order(plan)]
            request, self._expected = self._expected, None
            present = Present(run, recorder, recorder.begin_run(names), plan, plan, request)
            present.endings.enter_context(recorder.sampling(SAMPLE_EVERY))
            present.endings.enter_context(_ticking(self._tick))
            self._present = present
        self._state.error, self._state.remedy = "", None
        self._state.progress = Progress(Stage.TEXT.value, 0, 1)
        if self._state.phase == "idle":
            self._state.phase = "running"

    def begin_step(self, run: Run, stage: Stage) -> None:
        """See the base class."""
        if (present := self._of(run)) is not None:
            present.recording.begin_step(stage.value)

    def end_step(self, run: Run, step: Step) -> None:
        """See the base class."""
        if (present := self._of(run)) is None:
            return
        present.recording.end_step(step.stage.value)
        present.step = step
        if step.stage is Stage.DENOISING:
            present.ends.append(time.perf_counter())
            present.latents = step.latents
            every = self._state.preview_every
            if every > 0 and (step.index + 1) % every == 0 and step.latents is not None:
                present.decoded = decoded(run.pipe, step.latents)
        self._session.settle()

    def end_run(self, run: Run, error: BaseException | None) -> None:
        """See the base class."""
        if (present := self._of(run)) is None:
            return
        present.recording.end(*outcome_of(run, error))
        present.endings.close()
        present.recorder.finish()
        pictures = _pictures(present.step) if error is None else ()
        self._learn(present, pictures)
        trace = present.recorder.trace
        with self._session.lock:
            self._present = None
            self._session.settle()
        state = self._state
        number = state.history[-1].number + 1 if state.history else 1
        finished = FinishedRun(number, present.request, present.plan, present.used, trace, pictures)
        with state.hold_trait_notifications():
            state.trace, state.history = trace, (*state.history, finished)[-KEPT:]
            if pictures:
                state.picture, state.pictures = png(mosaic(pictures)), pictures
            state.is_preview = not pictures
            self._conclude(present, error)
            state.phase = "idle"

    def _of(self, run: Run) -> Present | None:
        return self._present if self._present is not None and self._present.run is run else None

    def _conclude(self, present: Present, error: BaseException | None) -> None:
        """Say how the run has ended."""
        state, done = self._state, present.recorder.trace.runs[0]
        took = format_seconds(done.duration)
        match done.outcome:
            case "finished":
                state.message = f"Drawn in {took}."
            case "failed":
                state.message = f"Failed after {took}."
            case _:
                steps = sum(step.stage == Stage.DENOISING.value for step in done.steps)
                state.message = f"Stopped after {steps} steps, {took}."
        if error is None or done.outcome != "failed":
            return
        if is_out_of_memory(error) and not isinstance(error, OutOfMemoryError):
            stage = done.steps[-1].stage if done.steps else Stage.TEXT.value
            pictures = 1 if present.request is None else present.request.count
            helping = relief(self._session.pipe.strategies, stage, pictures)
            error = OutOfMemoryError(stage, helping, str(error) or type(error).__name__)
        state.error = str(error).strip() or type(error).__name__
        state.remedy = error.relief if isinstance(error, OutOfMemoryError) else None

    def _learn(self, present: Present, pictures: tuple[Image.Image, ...]) -> None:
        """Fit the colours of previews to what was drawn, where no fit is known."""
        latents = present.latents
        if self._colours is not None or latents is None or len(pictures) != len(latents):
            return
        arrays = [
            torch.tensor(list(p.convert("RGB").tobytes()), dtype=torch.uint8) for p in pictures
        ]
        height, width = pictures[0].height, pictures[0].width
        levels = torch.stack(arrays).view(-1, height, width, 3).movedim(-1, 1)
        self._colours = LatentColours.fit(latents.cpu(), levels.float() / 127.5 - 1)

    # --- what is shown of it ---

    def _tick(self, count: int) -> None:
        present = self._present
        if present is None:
            return
        step = present.step
        if step is not None and step is not present.seen:
            present.seen = step
            self._show(present, step)
        if count % TICKS_PER_CHART == 0:
            self._state.trace = present.recorder.trace

    def _show(self, present: Present, step: Step) -> None:
        state, left = self._state, _seconds_left(present.ends, step)
        progress = Progress(step.stage.value, step.index + 1, step.total, left)
        if state.phase == "running":
            state.message = _words(progress)
        state.progress = progress
        images = self._preview(present, step)
        if images and not step.output:
            state.is_preview = True
            state.picture = png(mosaic(images), quick=True)

    def _preview(self, present: Present, step: Step) -> list[Image.Image] | None:
        every = self._state.preview_every
        if every > 0:
            return present.decoded
        fits = self._colours is not None and step.latents is not None
        if every < 0 or not fits or len(self._colours.matrix) != step.latents.shape[1] + 1:  # type: ignore[union-attr]
            return None
        return self._colours.images(step.latents)  # type: ignore[union-attr, arg-type]


def _pictures(step: Step | None) -> tuple[Image.Image, ...]:
    """What the last step of a run has brought, where these are pictures."""
    output: Any = None if step is None else step.output
    if output is None:
        return ()
    images = output[0] if isinstance(output, tuple) else output.images
    if not isinstance(images, list):
        return ()
    return tuple(image for image in images if isinstance(image, Image.Image))


def _seconds_left(ends: list[float], step: Step) -> float | None:
    if step.stage is not Stage.DENOISING or len(ends) < 2:
        return None
    return (ends[-1] - ends[0]) / (len(ends) - 1) * (step.total - step.index - 1)


def _words(progress: Progress) -> str:
    if progress.stage != Stage.DENOISING.value:
        return "Drawing …"
    left = progress.seconds_left
    rest = "" if left is None else f", about {format_seconds(left)} left"
    return f"Step {progress.done} of {progress.total}{rest}"


@contextmanager
def _ticking(tick: Callable[[int], None]) -> Iterator[None]:
    """Within, call `tick` with a count, five times a second, from a thread of its own."""
    leave = threading.Event()

    def work() -> None:
        count = 0
        while not leave.wait(TICK):
            tick(count)
            count += 1

    thread = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()
