"""How far the pictures of runs differ, found while nothing is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from dpnb.errors import MissingPackageError
from dpnb.fidelity.difference import compare
from dpnb.fidelity.picture_values import LEAST
from dpnb.fidelity.scores import needs_quality_packages
from dpnb.fidelity.visibility import Visibility, words_for
from dpnb.widgets.background_task import BackgroundTask
from dpnb.widgets.run_comparison import ROUNDING, compare_runs
from dpnb.widgets.session import Session
from dpnb.widgets.state import FinishedRun

PIXELS = 1 << 20
"""So many at most are compared without being asked for: FLIP takes a second or two for them."""

Pair: TypeAlias = tuple[FinishedRun, FinishedRun]


@dataclass(frozen=True)
class Verdict:
    """How far the pictures of a run are from those of another.

    Args:
        flip: FLIP's mean.
        size: FLIP's mean, or a third of its worst tile where that is more.
    """

    flip: float
    size: float

    @property
    def words(self) -> Visibility:
        """What the size means."""
        return words_for(self.size)


class PictureJudge:
    """Compares runs with a baseline on a thread of its own, and never while something is drawn.

    What it finds is in the session's `verdicts`.

    Args:
        session: whose runs these are.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._task: BackgroundTask | None = None
        self._can_judge = has_quality_packages()

    def consider(self, runs: Iterable[FinishedRun], baseline: FinishedRun | None) -> None:
        """Compare what has not been compared, unless something is drawn now."""
        state = self._session.run_state
        is_busy = self._task is not None and not self._task.is_done
        if baseline is None or is_busy or state.phase != "idle" or not self._can_judge:
            return
        open_pairs = [(run, baseline) for run in runs if self._is_open(run, baseline)]
        if open_pairs:
            self._task = BackgroundTask(lambda: self._judge(open_pairs))

    def wait(self, timeout: float | None = None) -> None:
        """Wait until what was begun is over.

        Args:
            timeout: the most seconds to wait.

        Raises:
            TimeoutError: it goes on.
        """
        if self._task is not None:
            self._task.wait(timeout)

    def _is_open(self, run: FinishedRun, baseline: FinishedRun) -> bool:
        if run is baseline or (run.number, baseline.number) in self._session.run_state.verdicts:
            return False
        if not can_compare(run, baseline) or _count_pixels(run) > PIXELS:
            return False
        largest = compare_runs(run, baseline).largest
        return largest is not None and largest > ROUNDING

    def _judge(self, pairs: list[Pair]) -> None:
        state = self._session.run_state
        for run, baseline in pairs:
            if state.phase != "idle":
                return
            found = compare(baseline.pictures, run.pictures, ["flip"])
            assert found.flip is not None
            verdict = Verdict(found.flip.mean, found.size)
            with self._session.lock:
                state.verdicts = {**state.verdicts, (run.number, baseline.number): verdict}


def has_quality_packages() -> bool:
    """Whether FLIP can be computed here."""
    try:
        needs_quality_packages()
    except MissingPackageError:
        return False
    return True


def can_compare(one: FinishedRun, other: FinishedRun) -> bool:
    """Whether two runs have drawn as many pictures of the same sizes, which are not too small."""
    sizes = [[picture.size for picture in run.pictures] for run in (one, other)]
    return bool(sizes[0]) and sizes[0] == sizes[1] and min(map(min, sizes[0])) >= LEAST


def _count_pixels(run: FinishedRun) -> int:
    return sum(picture.width * picture.height for picture in run.pictures)
