"""Listeners of a pipeline's runs, and the calls that they get while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType

from dpnb.pipelines.protocols import RunningPipeline
from dpnb.stages import Stage, Step, stage_after


@dataclass(frozen=True, eq=False)
class Run:
    """One run: the key by which a listener tells runs apart.

    Args:
        pipe: the pipeline that runs.
    """

    pipe: RunningPipeline


class RunListener:
    """Callbacks of runs, which do nothing here; override those that are of interest.

    All are called in the thread of the run. An error that is raised in one stops the run, as one of
    the run itself does. A listener whose `begin_run` was called also has its `end_run` called.
    """

    def begin_run(self, run: Run) -> None:
        """A run begins; nothing has been computed yet."""

    def begin_step(self, run: Run, stage: Stage) -> None:
        """The work on a step of `stage` begins."""

    def end_step(self, run: Run, step: Step) -> None:
        """A step is done, and is handed to the caller next."""

    def between_steps(self, run: Run) -> None:
        """The run pauses between two steps: anything may be switched now."""

    def end_run(self, run: Run, error: BaseException | None) -> None:
        """A run is over.

        Args:
            run: which one.
            error: what has stopped it: `GeneratorExit` where the caller gave it up between two
                steps, `None` where it came to its end.
        """


def notify_listeners(
    run: Run, steps: Generator[Step, None, None], listeners: Sequence[RunListener]
) -> Iterator[Step]:
    """`steps`, with the calls of `listeners` between them.

    The listeners are those of the moment when the first step is asked for; without any there is
    nothing between the caller and `steps`.
    """
    if listeners:
        yield from _notify(run, steps, tuple(listeners))
    else:
        yield from steps


def _notify(
    run: Run, steps: Generator[Step, None, None], listeners: tuple[RunListener, ...]
) -> Iterator[Step]:
    with ExitStack() as endings, closing(steps):
        for listener in listeners:
            listener.begin_run(run)
            endings.push(call_end_run(listener, run))
        _begin_step(run, Stage.TEXT, listeners)
        for step in steps:
            for listener in reversed(listeners):
                listener.end_step(run, step)
            for listener in reversed(listeners):
                listener.between_steps(run)
            yield step
            stage = stage_after(step, run.pipe.interrupt, bool(run.pipe.picture_inputs))
            if stage is not None:
                _begin_step(run, stage, listeners)


def _begin_step(run: Run, stage: Stage, listeners: tuple[RunListener, ...]) -> None:
    for listener in listeners:
        listener.begin_step(run, stage)


def call_end_run(
    listener: RunListener, run: Run
) -> Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], None]:
    """What tells `listener` that `run` is over, as an exit of a context."""
    return lambda _, error, __: listener.end_run(run, error)
