"""One run at a time over the same networks, or by the same scheduler."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from threading import Condition, RLock, get_ident
from typing import Generic, Protocol, TypeVar
from weakref import ref

from dpnb.errors import DpnbError
from dpnb.strategies.fair_lock import GLANCE, FairLock

S = TypeVar("S")

PATIENCE = 30.0
"""Seconds after which a run that nobody asks for its next step has to make way for another."""


GIVEN_UP = (
    "This run was given up when another one began over the same networks or the same scheduler; "
    "take a stream to its end, or close it, before the next begins."
)
"""Why a run does not go on when another one has begun."""


class RunError(DpnbError, RuntimeError):
    """A run cannot begin, or cannot go on, because of another run over the same networks."""


class AdmittedRun(Protocol):
    """A run that keeps others away while it goes on.

    Attributes:
        is_over: whether it has ended, or was given up.
        is_computing: whether it is in the middle of a step.
        thread: the one that computes it, or has done so last.
    """

    is_over: bool
    is_computing: bool
    thread: int

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody may come for the next step."""
        ...

    @property
    def waits_for_this_thread(self) -> bool:
        """Whether it cannot go on before this thread does."""
        ...

    def give_up(self) -> None:
        """End the run where it is; nothing that it needed stays behind."""
        ...


class ExclusiveRun(Generic[S]):
    """A run whose steps are computed while nobody else uses the networks.

    Args:
        steps: the run.
        lock: gives the lock of the networks; it is held while a step is computed, and free
            between two steps.
    """

    def __init__(self, steps: Generator[S, None, None], lock: Callable[[], FairLock]) -> None:
        self.is_over = False
        self.is_computing = False
        self.thread = get_ident()
        self.since = time.monotonic()
        self._steps, self._lock = steps, lock

    def compute_step(self) -> S | None:
        """Compute a step; `None` after the last one.

        Raises:
            RunError: another run has begun meanwhile.
        """
        with self._lock().hold():
            if self.is_over:
                raise RunError(GIVEN_UP)
            self.thread, self.is_computing = get_ident(), True
            try:
                return next(self._steps, None)
            finally:
                self.is_computing, self.since = False, time.monotonic()

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody may come for the next step."""
        if self.is_computing:
            return False
        return self.thread == get_ident() or time.monotonic() - self.since > PATIENCE

    @property
    def waits_for_this_thread(self) -> bool:
        """Whether it cannot go on before this thread does."""
        return self._lock().is_mine

    def give_up(self) -> None:
        """End the run where it is; nothing that it needed stays behind."""
        with self._lock().hold():
            self.is_over = True
            self._steps.close()


class ExclusiveCall:
    """A run that is one call, in the thread that makes it, with pauses between its steps.

    Args:
        lock: gives the lock of the networks; it is held but for the pauses.
        end: ends the call where it pauses, once nobody waits for its next step any more.
        asker: the thread that asks for its next step, or has done so last.
    """

    def __init__(
        self, lock: Callable[[], FairLock], end: Callable[[], None], asker: Callable[[], int]
    ) -> None:
        self.is_over = False
        self.is_computing = True
        self.thread = get_ident()
        self.since = time.monotonic()
        self._lock, self._end, self._asker = lock, end, asker
        self._held = ExitStack()

    @contextmanager
    def compute(self) -> Iterator[None]:
        """The call takes place within."""
        try:
            self._held.enter_context(self._lock().hold())
            yield
        finally:
            self.is_over = True
            self._held.close()

    @property
    def is_waited_for(self) -> bool:
        """Whether a thread waits to use or change the networks."""
        return self._lock().is_wanted

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Between two steps anybody may use or change the networks.

        Raises:
            RunError: another run has begun meanwhile.
        """
        self._held.close()
        self.is_computing, self.since = False, time.monotonic()
        try:
            yield
        finally:
            self.is_computing, self.thread = True, get_ident()
            if not self.is_over:
                self._held.enter_context(self._lock().hold())
        if self.is_over:
            raise RunError(GIVEN_UP)

    @property
    def is_abandoned(self) -> bool:
        """Whether nobody may come for the next step."""
        if self.is_computing:
            return False
        return self._asker() == get_ident() or time.monotonic() - self.since > PATIENCE

    @property
    def waits_for_this_thread(self) -> bool:
        """Whether it cannot go on before this thread does."""
        return self._lock().is_mine

    def give_up(self) -> None:
        """End the call where it pauses."""
        self.is_over = True
        self._end()


class ActiveRuns:
    """The run that goes on over some networks, or by a scheduler."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._begun: list[ref[AdmittedRun]] = []

    @property
    def active(self) -> list[AdmittedRun]:
        """Those that have begun and not ended, the innermost last."""
        runs = [run for held in self._begun if (run := held()) is not None]
        return [run for run in runs if not run.is_over]

    @contextmanager
    def admit(self, run: AdmittedRun, *, may_nest: bool) -> Iterator[None]:
        """`run` is the only run within; it waits for the one that goes on in another thread.

        A run of this thread that waits between two steps is given up, as is one of another thread
        that nobody has asked for a step in `PATIENCE` seconds.

        Args:
            run: the run.
            may_nest: whether it may take place in the middle of a step of another one.

        Raises:
            RunError: it would have to and may not, or the other one waits for this thread.
        """
        self._begin(run, may_nest=may_nest)
        try:
            yield
        finally:
            with self._lock:
                self._begun = [ref(other) for other in self.active if other is not run]
                self._changed.notify_all()

    def absorb(self, other: ActiveRuns) -> None:
        """Take over the runs of `other`."""
        with self._lock:
            self._begun += other._begun

    def _begin(self, run: AdmittedRun, *, may_nest: bool) -> None:
        while True:
            with self._lock:
                other = self._in_the_way(may_nest=may_nest)
                if other is None:
                    self._begun.append(ref(run))
                    return
                if not other.is_abandoned:
                    self._changed.wait(timeout=GLANCE)
                    continue
            other.give_up()

    def _in_the_way(self, *, may_nest: bool) -> AdmittedRun | None:
        active = self.active
        if not active or active[-1].is_abandoned:
            return active[-1] if active else None
        other = active[-1]
        if other.is_computing and other.thread == get_ident():
            if may_nest:
                return None
            raise RunError(
                "A run cannot begin within a step of another one that has the same scheduler, or "
                "the same networks while what is switched on remembers steps; begin it after that "
                "step, or give it a scheduler or networks of its own."
            )
        if other.waits_for_this_thread:
            raise RunError(
                "Another run over the same networks waits between two steps for what this thread "
                "does now; begin the run after that."
            )
        return other
