"""Measures runs while they go on, and makes a trace of them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpnb.metering.clock import Clock
from dpnb.metering.meter import Meter
from dpnb.metering.reading import Reading
from dpnb.metering.trace import Event, RunTrace, StageSummary, StepTrace, Trace
from dpnb.stages import Stage

if TYPE_CHECKING:
    from rich.console import RenderableType


class Recorder:
    """Measures runs, and shows at any time and from any thread what it has so far.

    Whoever drives it calls `begin_run`, and on what that returns `begin_step` and `end_step` in
    turn and `end` last, all in the thread of the run.

    Args:
        meter: is entered around every step, so that what happens between two steps is not counted.
        clock: measures their durations.
    """

    def __init__(self, meter: Meter, clock: Clock) -> None:
        self._instruments = Instruments(meter, clock)
        self._runs: list[RunRecorder] = []
        self._events: list[tuple[Any, str]] = []
        self._samples: list[Reading] = []

    def begin_run(self, strategies: Sequence[str] = ()) -> RunRecorder:
        """Begin to measure a run.

        Args:
            strategies: what is switched on, in words.
        """
        run = RunRecorder(self._instruments, tuple(strategies))
        self._runs.append(run)
        return run

    def note(self, text: str) -> None:
        """Record that something has happened now."""
        self._events.append((self._instruments.clock.mark(), text))

    @contextmanager
    def sample_every(self, every: float) -> Iterator[None]:
        """Within, read the meter from a thread of its own too, while runs go on.

        Args:
            every: seconds from one reading to the next.
        """
        leave = threading.Event()
        thread = threading.Thread(
            target=self._sample, args=(every, leave), name="dpnb sampler", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            leave.set()
            thread.join()

    def synchronize(self) -> None:
        """Wait until the device has done what was recorded, so that its clock can be read."""
        clock = self._instruments.clock
        clock.wait(clock.mark())

    @property
    def trace(self) -> Trace:
        """What has been measured so far, as a value that does not change any more."""
        at, meter = self._instruments.seconds_at, self._instruments.meter
        return Trace(
            meter=meter.name,
            label=meter.label,
            clock=self._instruments.clock.label,
            runs=tuple(run.trace for run in list(self._runs)),
            events=tuple(Event(at(mark), text) for mark, text in list(self._events)),
            samples=tuple(self._samples),
        )

    @property
    def runs(self) -> tuple[RunTrace, ...]:
        """The runs so far."""
        return self.trace.runs

    @property
    def events(self) -> tuple[Event, ...]:
        """What was switched so far."""
        return self.trace.events

    @property
    def samples(self) -> tuple[Reading, ...]:
        """Further readings so far."""
        return self.trace.samples

    @property
    def steps(self) -> tuple[StepTrace, ...]:
        """The steps of all runs so far."""
        return self.trace.steps

    @property
    def peak(self) -> int:
        """The most bytes that were in use during a run so far."""
        return self.trace.peak

    @property
    def growth(self) -> int:
        """By how many bytes a run's peak lies above what was in use before it, at most."""
        return self.trace.growth

    @property
    def seconds_per_step(self) -> float | None:
        """The median seconds of the completed denoising steps."""
        return self.trace.seconds_per_step

    def by_stage(self) -> dict[str, StageSummary]:
        """The stages of all runs so far."""
        return self.trace.by_stage()

    def to_json(self) -> dict[str, Any]:
        """What has been measured so far, as plain JSON values."""
        return self.trace.to_json()

    def save(self, path: str | Path) -> None:
        """Write what has been measured so far into a JSON file."""
        self.trace.save(path)

    def _sample(self, every: float, leave: threading.Event) -> None:
        while not leave.wait(every):
            if any(run.is_running for run in list(self._runs)):
                self._samples.append(self._instruments.read())

    def __rich__(self) -> RenderableType:
        return self.trace.__rich__()

    def _repr_html_(self) -> str:
        return self.trace._repr_html_()


class RunRecorder:
    """Measures one run; see `Recorder`."""

    def __init__(self, instruments: Instruments, strategies: tuple[str, ...]) -> None:
        self._instruments = instruments
        self._strategies = strategies
        self._begin = instruments.read()
        self._marks = [instruments.clock.mark()]
        self._open: _OpenStep | None = None
        self._steps: list[_MeasuredStep] = []
        self._outcome = "running"
        self._error: str | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._outcome == "running"

    def begin_step(self, stage: Stage) -> None:
        """Begin to measure a step of `stage`."""
        entered = ExitStack()
        entered.enter_context(self._instruments.meter)
        self._instruments.meter.reset_peak()
        self._open = _OpenStep(stage, self._instruments.clock.mark(), entered)

    def end_step(self, stage: Stage, reused: float | None = None) -> None:
        """End the step.

        Args:
            stage: what it has turned out to be.
            reused: see `StepTrace`.
        """
        self._close_step(stage, is_complete=True, reused=reused)

    def end(self, outcome: str, error: str | None = None) -> None:
        """End the run.

        Args:
            outcome: see `RunTrace`.
            error: what it failed with.
        """
        if self._open is not None:
            self._close_step(self._open.stage, is_complete=False)
        self._marks.append(self._instruments.clock.mark())
        self._error = error
        self._outcome = outcome

    @property
    def trace(self) -> RunTrace:
        """What has been measured so far."""
        at, seconds = self._instruments.seconds_at, self._instruments.clock.seconds
        steps, first, last = list(self._steps), self._marks[0], self._marks[-1]
        if len(self._marks) == 1 and steps:
            last = steps[-1].end
        return RunTrace(
            start=at(first),
            duration=seconds(first, last),
            outcome=self._outcome,
            error=self._error,
            strategies=self._strategies,
            begin=self._begin,
            steps=tuple(self._trace_steps(steps)),
        )

    def _close_step(self, stage: Stage, is_complete: bool, reused: float | None = None) -> None:
        assert self._open is not None
        begun, self._open = self._open, None
        with begun.entered:
            end = self._instruments.clock.mark()
            reading = self._instruments.read()
        self._steps.append(_MeasuredStep(stage, begun.start, end, reading, is_complete, reused))

    def _trace_steps(self, steps: list[_MeasuredStep]) -> Iterator[StepTrace]:
        counts: Counter[Stage] = Counter()
        for step in steps:
            yield StepTrace(
                stage=step.stage,
                index=counts[step.stage],
                start=self._instruments.seconds_at(step.start),
                duration=self._instruments.clock.seconds(step.start, step.end),
                reading=step.reading,
                is_complete=step.is_complete,
                reused=step.reused,
            )
            counts[step.stage] += 1


class Instruments:
    """A meter and a clock that count from the same moment."""

    def __init__(self, meter: Meter, clock: Clock) -> None:
        self.meter = meter
        self.clock = clock
        self._origin = clock.mark()
        self._zero = clock.host_time(self._origin)

    def seconds_at(self, mark: Any) -> float:
        """Seconds from the first moment to `mark`."""
        return self.clock.seconds(self._origin, mark)

    def read(self) -> Reading:
        """Memory now; its time counts from the first moment."""
        reading = self.meter.read()
        return replace(reading, time=reading.time - self._zero)


@dataclass(frozen=True)
class _OpenStep:
    stage: Stage
    start: Any
    entered: ExitStack


@dataclass(frozen=True)
class _MeasuredStep:
    stage: Stage
    start: Any
    end: Any
    reading: Reading
    is_complete: bool
    reused: float | None
