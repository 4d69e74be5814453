"""The calls that listeners of a pipeline get while a run of it goes on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

from dpnb.pipelines.protocols import RunningPipeline
from dpnb.pipelines.run_forms import PADDED, run_form
from dpnb.run_listener import Foresee, RunKey, RunListener
from dpnb.stages import Stage, Step, stage_after

A = TypeVar("A")


@dataclass(frozen=True, eq=False)
class Run(RunKey):
    """A run of a pipeline.

    Args:
        pipe: the pipeline that runs.
        listeners: who hears of it.
        form: a key that runs share which need the same memory; `None` where nobody knows.
    """

    pipe: RunningPipeline
    listeners: tuple[RunListener[Run], ...] = ()
    form: Hashable | None = None

    @classmethod
    def of(
        cls,
        pipe: RunningPipeline,
        listeners: Sequence[RunListener[Run]],
        arguments: Mapping[str, Any],
        padded: bool = False,
    ) -> Run:
        """A run with these arguments, by name.

        Args:
            pipe: the pipeline that runs.
            listeners: who hears of it.
            arguments: of the run.
            padded: whether the pipeline brings all words to one length.
        """
        form = run_form(arguments, PADDED if padded else frozenset()) if listeners else None
        return cls(pipe, tuple(listeners), form)

    @property
    def on_prediction(self) -> Callable[[int, Foresee], None] | None:
        """What to call when a step has a prediction; `None` where nobody listens."""
        return self._tell_prediction if self.listeners else None

    def _tell_prediction(self, index: int, foresee: Foresee) -> None:
        for listener in self.listeners:
            listener.after_prediction(self, index, foresee)


def notify_listeners(
    pipe: RunningPipeline,
    begin: Callable[[Run, A], Generator[Step, None, None]],
    arguments: A,
    listeners: Sequence[RunListener[Run]],
) -> Iterator[Step]:
    """The steps of a run, with the calls of `listeners` between them.

    The listeners are those of the moment when the first step is asked for; without any there is
    nothing between the caller and the steps.

    Args:
        pipe: the pipeline that runs.
        begin: makes the steps.
        arguments: of the run.
        listeners: who hears of them.
    """
    run = Run.of(pipe, listeners, vars(arguments), padded=True)
    steps = begin(run, arguments)
    yield from _notify(run, steps, run.listeners) if run.listeners else steps


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
