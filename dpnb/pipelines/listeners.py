"""The calls that listeners of a pipeline get while a run of it goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from dpnb.pipelines.protocols import RunningPipeline
from dpnb.pipelines.run_forms import PADDED, run_form
from dpnb.run_listener import RunKey, RunListener
from dpnb.stages import Stage, Step, stage_after


@dataclass(frozen=True, eq=False)
class Run(RunKey):
    """A run of a pipeline.

    Args:
        pipe: the pipeline that runs.
        form: a key that runs share which need the same memory; `None` where nobody knows.
    """

    pipe: RunningPipeline
    form: Hashable | None = None

    @classmethod
    def of(cls, pipe: RunningPipeline, arguments: Mapping[str, Any], padded: bool = False) -> Run:
        """A run with these arguments, by name.

        Args:
            pipe: the pipeline that runs.
            arguments: of the run.
            padded: whether the pipeline brings all words to one length.
        """
        return cls(pipe, run_form(arguments, PADDED if padded else frozenset()))


def notify_listeners(
    run: Run, steps: Generator[Step, None, None], listeners: Sequence[RunListener[Run]]
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
    run: Run, steps: Generator[Step, None, None], listeners: tuple[RunListener[Run], ...]
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


def _begin_step(run: Run, stage: Stage, listeners: tuple[RunListener[Run], ...]) -> None:
    for listener in listeners:
        listener.begin_step(run, stage)


def call_end_run(
    listener: RunListener[Run], run: Run
) -> Callable[[type[BaseException] | None, BaseException | None, TracebackType | None], None]:
    """What tells `listener` that `run` is over, as an exit of a context."""
    return lambda _, error, __: listener.end_run(run, error)
