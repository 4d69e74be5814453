"""Who may compute with networks, or change them: one thread at a time, in the order of asking."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, RLock, get_ident
from typing import Any, Generic, TypeVar
from weakref import WeakSet, ref

from dpnb.errors import DpnbError

S = TypeVar("S")

GLANCE = 0.5
"""Seconds after which a thread that waits looks again, whether it was called or not."""

PATIENCE = 30.0
"""Seconds after which a run that nobody asks for its next step has to make way for another."""


class RunError(DpnbError, RuntimeError):
    """A run cannot begin, or cannot go on, because of another run over the same networks."""


@dataclass(eq=False)
class Hold:
    """That a thread has the turn, for as long as anything refers to this."""

    thread: int


class Turns:
    """A lock that goes to those who wait for it in the order in which they came.

    A thread that has it may take it again. No interrupt leaves it taken for good: a hold that is
    not given back is gone with whatever referred to it.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._waiting: list[ref[Hold]] = []
        self._holds: WeakSet[Hold] = WeakSet()

    @property
    def is_mine(self) -> bool:
        """Whether this thread has the turn."""
        with self._lock:
            return any(hold.thread == get_ident() for hold in self._holds)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Nobody else has the turn within."""
        hold = Hold(get_ident())
        try:
            self._take([hold])
            yield
        finally:
            self._give_back([hold])

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Whoever waits may have the turn within, although this thread had it."""
        holds = list(self._holds) if self.is_mine else []
        self._give_back(holds)
        try:
            yield
        finally:
            self._take(holds)

    def _take(self, holds: Sequence[Hold]) -> None:
        if not holds:
            return
        with self._lock:
            if not self.is_mine:
                self._wait(holds[0])
            self._holds.update(holds)

    def _wait(self, hold: Hold) -> None:
        """Stand in line; who was interrupted there is gone, or waits anew."""
        self._waiting = [*self._line(hold), ref(hold)]
        while len(self._holds) or self._line(hold):
            self._changed.wait(timeout=GLANCE)
        self._waiting = [other for other in self._waiting if other() is not hold]

    def _line(self, hold: Hold) -> list[ref[Hold]]:
        """Those who came before `hold`."""
        waiting = [held for other in self._waiting if (held := other()) is not None]
        before = waiting[: waiting.index(hold)] if hold in waiting else waiting
        return [ref(other) for other in before if other.thread != hold.thread]

    def _give_back(self, holds: Sequence[Hold]) -> None:
        with self._lock:
            self._holds.difference_update(holds)
            self._changed.notify_all()


class Course(Generic[S]):
    """The steps of one run, as long as it has the networks to itself.

    Args:
        steps: the run.
        turns: tells whose turn it is now; it is taken while a step is computed, and free between
            two steps.
    """

    def __init__(self, steps: Generator[S, None, None], turns: Callable[[], Turns]) -> None:
        self.is_over = False
        self.is_computing = False
        self.thread = get_ident()
        self.since = time.monotonic()
        self._steps, self._turns = steps, turns

    def next(self) -> S | None:
        """Compute a step; `None` after the last one.

        Raises:
            RunError: another run has begun meanwhile.
        """
        with self._turns().taken():
            if self.is_over:
                raise RunError(
                    "This run was given up when another one began over the same networks or the "
                    "same scheduler; take a stream to its end, or close it, before the next begins."
                )
            self.thread, self.is_computing = get_ident(), True
            try:
                return next(self._steps, None)
            finally:
                self.is_computing, self.since = False, time.monotonic()

    @property
    def is_left(self) -> bool:
        """Whether nobody may come for the next step."""
        if self.is_computing:
            return False
        return self.thread == get_ident() or time.monotonic() - self.since > PATIENCE

    @property
    def is_held_up(self) -> bool:
        """Whether it cannot go on before this thread does."""
        return self._turns().is_mine

    def give_up(self) -> None:
        """End the run where it is; nothing that it needed stays behind."""
        with self._turns().taken():
            self.is_over = True
            self._steps.close()


class Runs:
    """The run that goes on over some networks, or by a scheduler."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._begun: list[ref[Course[Any]]] = []

    @property
    def present(self) -> list[Course[Any]]:
        """Those that have begun and not ended, the innermost last."""
        courses = [course for begun in self._begun if (course := begun()) is not None]
        return [course for course in courses if not course.is_over]

    @contextmanager
    def one(self, course: Course[Any], *, may_nest: bool) -> Iterator[None]:
        """`course` is the only run within; it waits for the one that goes on in another thread.

        A run of this thread that waits between two steps is given up, as is one of another thread
        that nobody has asked for a step in `PATIENCE` seconds.

        Args:
            course: the run.
            may_nest: whether it may take place in the middle of a step of another one.

        Raises:
            RunError: it would have to and may not, or the other one waits for this thread.
        """
        self._begin(course, may_nest=may_nest)
        try:
            yield
        finally:
            with self._lock:
                self._begun = [ref(other) for other in self.present if other is not course]
                self._changed.notify_all()

    def absorb(self, other: Runs) -> None:
        """Take over the runs of `other`."""
        with self._lock:
            self._begun += other._begun

    def _begin(self, course: Course[Any], *, may_nest: bool) -> None:
        while True:
            with self._lock:
                other = self._in_the_way(may_nest=may_nest)
                if other is None:
                    self._begun.append(ref(course))
                    return
                if not other.is_left:
                    self._changed.wait(timeout=GLANCE)
                    continue
            other.give_up()

    def _in_the_way(self, *, may_nest: bool) -> Course[Any] | None:
        present = self.present
        if not present or present[-1].is_left:
            return present[-1] if present else None
        other = present[-1]
        if other.is_computing and other.thread == get_ident():
            if may_nest:
                return None
            raise RunError(
                "A run cannot begin within a step of another one that has the same scheduler, or "
                "the same networks while what is switched on remembers steps; begin it after that "
                "step, or give it a scheduler or networks of its own."
            )
        if other.is_held_up:
            raise RunError(
                "Another run over the same networks waits between two steps for what this thread "
                "does now; begin the run after that."
            )
        return other
