"""What was measured while a pipeline ran: durations and memory by stage and step."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from dpnb.atomic import write_text
from dpnb.errors import DpnbError, FileError, MissingFileError
from dpnb.files import read_json
from dpnb.metering.reading import Reading
from dpnb.stages import Stage
from dpnb.tables import html_table
from dpnb.units import format_bytes, format_seconds
from dpnb.validation import from_plain, to_plain

if TYPE_CHECKING:
    from rich.console import RenderableType


FORMAT = "dpnb trace 1"

HEADINGS = ("Stage", "Steps", "Time", "Per step", "Peak", "At its end")


class TraceError(DpnbError, ValueError):
    """What was to be read is not a trace; the message says where it is wrong."""


@dataclass(frozen=True)
class StepTrace:
    """One step of a stage.

    Args:
        stage: what was done.
        index: which step of its stage in this run, from 0.
        start: seconds since the trace began.
        duration: seconds, without what the caller does between two steps.
        reading: memory at the step's end; its peak is that of this step.
        is_complete: whether it came to its end; an error has stopped it otherwise.
        reused: of the calls of its network, those that have reused something of a former step, from
            0 to 1; `None` where nothing was on that reuses anything.
    """

    stage: Stage
    index: int
    start: float
    duration: float
    reading: Reading
    is_complete: bool = True
    reused: float | None = None

    @property
    def has_reused(self) -> bool:
        """Whether it has reused something of a former step."""
        return bool(self.reused)

    @property
    def current(self) -> int:
        """Bytes in use at the step's end."""
        return self.reading.current

    @property
    def peak(self) -> int:
        """The most bytes that were in use during the step."""
        return self.reading.peak


@dataclass(frozen=True)
class Event:
    """Something that happened, for example "AttentionSlicing on".

    Args:
        time: seconds since the trace began.
        text: what happened.
    """

    time: float
    text: str


@dataclass(frozen=True)
class StageSummary:
    """All steps of one stage.

    Args:
        steps: how many were completed.
        seconds: that all of them took.
        seconds_per_step: the median of the completed ones; `None` without any.
        current: bytes in use at the end of the last one.
        peak: the most bytes that were in use.
    """

    steps: int
    seconds: float
    seconds_per_step: float | None
    current: int
    peak: int


@dataclass(frozen=True)
class RunTrace:
    """One run.

    Args:
        start: seconds since the trace began.
        duration: seconds, of the caller between steps too; up to now while it is running.
        outcome: "running", "finished", "interrupted" (asked to stop), "left" (given up by the
            caller between two steps) or "failed".
        error: what it failed with.
        strategies: what was switched on when it began.
        begin: memory before it.
        steps: what it did.
    """

    start: float
    duration: float
    outcome: str
    error: str | None
    strategies: tuple[str, ...]
    begin: Reading
    steps: tuple[StepTrace, ...]

    @property
    def peak(self) -> int:
        """The most bytes that were in use during its steps."""
        return max((step.peak for step in self.steps), default=self.begin.current)

    @property
    def growth(self) -> int:
        """By how many bytes the peak lies above what was in use before the run."""
        return self.peak - self.begin.current

    @property
    def reuse(self) -> str:
        """In how many steps something was reused, in words; empty where nothing was to be."""
        able = [step for step in self.steps if step.reused is not None]
        count = sum(step.has_reused for step in able)
        steps = sum(step.stage is Stage.DENOISING for step in self.steps)
        if not able:
            return ""
        return f"reused in {count} of {steps} steps" if count else "nothing was reused"

    def by_stage(self) -> dict[str, StageSummary]:
        """The stages in the order in which they came."""
        return summarise(self.steps)


@dataclass(frozen=True)
class Trace:
    """The runs that were watched, and what was switched meanwhile.

    Args:
        meter: the name of the meter.
        label: what it counts, in words.
        clock: what the durations were measured with, in words.
        runs: in the order in which they began.
        events: in the order in which they happened.
        samples: further readings while runs went on; their peaks are those of the step so far.
    """

    meter: str
    label: str
    clock: str
    runs: tuple[RunTrace, ...] = ()
    events: tuple[Event, ...] = ()
    samples: tuple[Reading, ...] = ()

    @property
    def steps(self) -> tuple[StepTrace, ...]:
        """The steps of all runs."""
        return tuple(step for run in self.runs for step in run.steps)

    @property
    def peak(self) -> int:
        """The most bytes that were in use during a run; 0 without any."""
        return max((run.peak for run in self.runs), default=0)

    @property
    def growth(self) -> int:
        """By how many bytes a run's peak lies above what was in use before it, at most."""
        return max((run.growth for run in self.runs), default=0)

    @property
    def seconds_per_step(self) -> float | None:
        """The median of the completed denoising steps; `None` without any."""
        stages = self.by_stage()
        return stages[Stage.DENOISING].seconds_per_step if Stage.DENOISING in stages else None

    def by_stage(self) -> dict[str, StageSummary]:
        """The stages of all runs, in the order in which they first came."""
        return summarise(self.steps)

    def to_json(self) -> dict[str, Any]:
        """The trace as plain JSON values; `from_json` makes an equal one of them."""
        return {"format": FORMAT, **to_plain(self)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Trace:
        """The trace that `to_json` has described.

        Raises:
            TraceError: `values` describe something else.
        """
        if not isinstance(values, Mapping):
            raise TraceError(f"{values!r:.80} is no trace; give what to_json made.")
        rest = dict(values)
        if (format_ := rest.pop("format", None)) != FORMAT:
            raise TraceError(f"the format is {format_!r}; what can be read is {FORMAT!r}.")
        try:
            return from_plain(cls, rest, "trace")
        except ValueError as error:
            raise TraceError(str(error)) from None

    def save(self, path: str | Path) -> None:
        """Write the trace into a JSON file, which is whole as soon as it is there.

        Raises:
            SaveError: the disk is full; a former file stays.
        """
        write_text(path, json.dumps(self.to_json(), allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Trace:
        """Read a file that `save` has written.

        Raises:
            TraceError: it holds something else.
        """
        try:
            values = read_json(Path(path))
        except MissingFileError:
            raise
        except FileError as error:
            reason = str(error).rstrip(".")
            raise TraceError(f"{reason}, or give a file that save wrote.") from error
        if not isinstance(values, dict):
            raise TraceError(f"{path} holds no trace; give a file that save wrote.")
        return cls.from_json(values)

    def _caption(self) -> str:
        count = len(self.runs)
        runs = f"{count} run{'s' * (count != 1)}"
        peak = f"peak {format_bytes(self.peak)}, {format_bytes(self.growth)} above the start"
        return f"{runs}, {peak}: {self.label}; {self.clock}"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """A row of cells for each stage, in the order of `HEADINGS`."""
        for name, stage in self.by_stage().items():
            each = stage.seconds_per_step
            yield (
                name,
                str(stage.steps),
                format_seconds(stage.seconds),
                "" if each is None else format_seconds(each),
                format_bytes(stage.peak),
                format_bytes(stage.current),
            )

    def _remarks(self) -> Iterator[str]:
        """What happened, each with its time, what runs reused, and how they ended early."""
        for event in self.events:
            yield f"{format_seconds(event.time)}: {event.text}"
        for number, run in enumerate(self.runs, start=1):
            if run.reuse:
                yield f"run {number}: {run.reuse}"
            if run.outcome != "finished":
                yield f"run {number} {run.outcome}" + (f": {run.error}" if run.error else "")

    def __rich__(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self._caption()), title_justify="left")
        for number, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if number else "left")
        for row in self._rows():
            table.add_row(*row)
        return Group(table, *map(Text, self._remarks()))

    def _repr_html_(self) -> str:
        rows = ((row, False) for row in self._rows())
        return html_table(self._caption(), HEADINGS, rows, self._remarks())


def summarise(steps: Iterable[StepTrace]) -> dict[str, StageSummary]:
    """The stages of `steps`, in the order in which they first come."""
    stages: dict[str, list[StepTrace]] = {}
    for step in steps:
        stages.setdefault(step.stage, []).append(step)
    return {stage: _summary(members) for stage, members in stages.items()}


def _summary(steps: list[StepTrace]) -> StageSummary:
    complete = [step.duration for step in steps if step.is_complete]
    return StageSummary(
        steps=len(complete),
        seconds=sum(step.duration for step in steps),
        seconds_per_step=median(complete) if complete else None,
        current=steps[-1].current,
        peak=max(step.peak for step in steps),
    )
