"""A lock that threads get in the order in which they ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, RLock, get_ident
from weakref import WeakSet, ref

GLANCE = 0.5
"""Seconds after which a thread that waits looks again, whether it was called or not."""


@dataclass(eq=False)
class Hold:
    """That a thread has the lock, for as long as anything refers to this."""

    thread: int


class FairLock:
    """A reentrant lock that goes to those who wait for it in the order in which they came.

    No interrupt leaves it taken for good: a hold that is not given back is gone with whatever
    referred to it.
    """

    def __init__(self) -> None:
        self._lock = RLock()
        self._changed = Condition(self._lock)
        self._waiting: list[ref[Hold]] = []
        self._holds: WeakSet[Hold] = WeakSet()

    @property
    def is_mine(self) -> bool:
        """Whether this thread has the lock."""
        with self._lock:
            return any(hold.thread == get_ident() for hold in self._holds)

    @property
    def is_wanted(self) -> bool:
        """Whether a thread waits for it, as far as can be told at a glance."""
        return bool(self._waiting)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """No other thread has the lock within."""
        hold = Hold(get_ident())
        try:
            self._take([hold])
            yield
        finally:
            self._give_back([hold])

    @contextmanager
    def lend(self) -> Iterator[None]:
        """Whoever waits may have the lock within, although this thread had it."""
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
