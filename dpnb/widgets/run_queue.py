"""Runs that wait for the present one to end, and begin one after the other."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Protocol

from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.strategies.strategy import Plan
from dpnb.widgets.current_run import ExpectedRun
from dpnb.widgets.job import Job
from dpnb.widgets.scheduler_choice import choose_scheduler
from dpnb.widgets.state import Request, RunState


class QueuedSession(Protocol):
    """What a queue needs of the session whose runs it begins.

    Attributes:
        pipe: what draws.
        run_state: what the queue is shown in.
        lock: is held while the queue changes.
    """

    pipe: ExplorablePipeline
    run_state: RunState
    lock: threading.RLock

    @property
    def scheduler_name(self) -> str | None:
        """The class of the present scheduler."""
        ...

    @property
    def is_drawing(self) -> bool:
        """Whether a run goes on or is about to begin."""
        ...

    def make_job(self, request: Request, *, plan: Plan | None = None) -> Job:
        """What draws a request on the thread that begins it."""
        ...

    def expect(self, expected: ExpectedRun) -> None:
        """The next run is this one."""

    def begin(self, job: Job, request: Request) -> Job:
        """Start the thread of a job."""
        ...


@dataclass(frozen=True, eq=False)
class WaitingRun:
    """A run that waits for its turn.

    Args:
        request: what to draw.
        job: is told when the run is over.
    """

    request: Request
    job: Job


class RunQueue:
    """Begins a run when the one before it has come to its end.

    After a run that was stopped or has failed, what waits goes on waiting, until `go_on` is called
    or another run is added.

    Args:
        session: whose runs they are.
    """

    def __init__(self, session: QueuedSession) -> None:
        self._session = session
        self._waiting: list[WaitingRun] = []

    def add(self, request: Request, plan: Plan | None = None) -> Job:
        """Draw `request` as soon as nothing is drawn and nothing waits before it.

        Args:
            request: what to draw.
            plan: what to switch on for it; where that is refused, the run fails. `None` leaves
                everything as it is then.

        Returns:
            What waits for the end, and can be cancelled also before the beginning.

        Raises:
            ValueError: something about the request is impossible.
        """
        session = self._session
        pipe = session.pipe
        choose_scheduler(pipe.scheduler, request.scheduler, request.scheduler_settings)
        pipe.make_run(**request.arguments(pipe.call_signature))
        request = replace(request, scheduler=request.scheduler or session.scheduler_name)
        entry = WaitingRun(request, session.make_job(request, plan=plan))
        with session.lock:
            self._waiting.append(entry)
            self._show()
        self.go_on()
        return entry.job

    def go_on(self) -> None:
        """Begin the next run, unless one goes on."""
        session = self._session
        with session.lock:
            self._drop_cancelled()
            if session.is_drawing or not self._waiting:
                return
            entry = self._waiting.pop(0)
            session.expect(ExpectedRun(entry.request))
            self._show()
        session.begin(entry.job, entry.request)

    def remove(self, place: int) -> None:
        """Take one out of the queue, counted from 0."""
        with self._session.lock:
            if place < len(self._waiting):
                self._waiting.pop(place).job.drop()
            self._show()

    def clear(self) -> None:
        """Take all out of the queue."""
        with self._session.lock:
            for entry in self._waiting:
                entry.job.drop()
            self._waiting.clear()
            self._show()

    def _drop_cancelled(self) -> None:
        self._waiting = [entry for entry in self._waiting if not entry.job.is_done]

    def _show(self) -> None:
        self._session.run_state.queue = tuple(entry.request for entry in self._waiting)
