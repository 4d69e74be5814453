"""Meters that share one high-water mark, which exists once for a process."""

from __future__ import annotations

from collections.abc import Hashable
from threading import RLock
from typing import ClassVar
from weakref import WeakSet

from typing_extensions import Self


class SharedPeakMeter:
    """A meter whose high-water mark exists once for the whole process.

    Before one meter resets the mark, the others keep what it had reached, so that several can
    watch at once.
    """

    _peers: ClassVar[WeakSet[SharedPeakMeter]] = WeakSet()
    _lock: ClassVar[RLock] = RLock()

    def __init__(self, counter: Hashable) -> None:
        self._counter = counter
        self._kept = 0
        with self._lock:
            self._peers.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing was entered."""

    def reset_peak(self) -> None:
        """Forget the peak: the next reading's is the highest from now on."""
        with self._lock:
            for meter in self._peers:
                if meter._counter == self._counter:
                    meter._kept = max(meter._kept, meter._high_water())
            self._reset_high_water()
            self._kept = 0

    def _peak(self, high_water: int) -> int:
        return max(self._kept, high_water)

    def _high_water(self) -> int:
        """The mark, in bytes."""
        raise NotImplementedError

    def _reset_high_water(self) -> None:
        """Bring the mark down to what is in use."""
        raise NotImplementedError
