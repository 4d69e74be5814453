"""Two ways of doing the same, timed in turn in one process: A B B A, medians, and their ratio."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Comparison:
    """Seconds of each run of the two, in the order in which they ran."""

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Our median over theirs: below 1 we are faster."""
        return statistics.median(self.ours) / statistics.median(self.theirs)

    def __str__(self) -> str:
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        return (
            f"dpnb {ours * 1e3:9.2f} ms   diffusers {theirs * 1e3:9.2f} ms   ratio {self.ratio:.3f}"
        )


def compare(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    *,
    rounds: int = 7,
    calls: int = 1,
    warm_up: int = 1,
    clock: Callable[[], float] = time.process_time,
    offset: float = 0.0,
) -> Comparison:
    """Time `ours` and `theirs` in turn.

    Args:
        rounds: counted runs of each.
        calls: calls in a run; a run's time is divided by them.
        warm_up: runs of each that are not counted.
        clock: processor seconds by default, which other programs disturb least.
        offset: seconds that every call spends on something else.
    """
    times: dict[Callable[[], Any], list[float]] = {ours: [], theirs: []}
    for turn in range(warm_up + rounds):
        for way in (ours, theirs) if turn % 2 == 0 else (theirs, ours):
            started = clock()
            for _ in range(calls):
                way()
            if turn >= warm_up:
                times[way].append((clock() - started) / calls - offset)
    return Comparison(tuple(times[ours]), tuple(times[theirs]))
