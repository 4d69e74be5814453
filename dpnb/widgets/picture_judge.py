"""How far the pictures of runs differ, found while nothing is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias
from weakref import WeakKeyDictionary, ref

from typing_extensions import Self

from dpnb.errors import MissingPackageError
from dpnb.fidelity.difference import compare
from dpnb.fidelity.picture_values import LEAST
from dpnb.fidelity.scores import needs_quality_packages
from dpnb.fidelity.visibility import Visibility, difference_size, words_for
from dpnb.widgets.background_task import BackgroundTask
from dpnb.widgets.run_comparison import compare_runs
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
        flip_worst: of the worst tile.
    """

    flip: float
    flip_worst: float

    @property
    def size(self) -> float:
        """FLIP's mean, or a third of its worst tile where that is more."""
        return difference_size(self.flip, self.flip_worst)

    @property
    def words(self) -> Visibility:
        """What the size means."""
        return words_for(self.size)

    @classmethod
    def of(cls, run: FinishedRun, baseline: FinishedRun) -> Self:
        """That of two runs which have drawn as many pictures of the same sizes.

        Raises:
            MissingPackageError: `dpnb[quality]` is not installed, and they differ.
        """
        if compare_runs(run, baseline).largest == 0:
            return cls(0.0, 0.0)
        found = compare(baseline.pictures, run.pictures, ["flip"])
        assert found.flip is not None
        return cls(found.flip.mean, found.flip.worst)


class PictureJudge:
    """Compares runs with a baseline on a thread of its own, and never while something is drawn.

    What it finds is in the session's `verdicts`.

    Args:
        session: whose runs these are.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._task: BackgroundTask | None = None
        self._baseline: FinishedRun | None = None
        self._is_judging = False
        self._passed: WeakKeyDictionary[FinishedRun, ref[FinishedRun]] = WeakKeyDictionary()
        self._can_judge = has_quality_packages()

    def consider(self, baseline: FinishedRun | None) -> None:
        """Compare what has not been compared with this run, unless something is drawn now.

        What comes while pictures are compared is compared after them.

        Args:
            baseline: the run; `None` for nothing.
        """
        with self._session.lock:
            self._baseline = baseline
            if not self._is_judging and (pairs := self._find_pairs()):
                self._is_judging = True
                self._task = BackgroundTask(lambda: self._work(pairs))

    def wait(self, timeout: float | None = None) -> None:
        """Wait until what was begun is over.

        Args:
            timeout: the most seconds to wait.

        Raises:
            TimeoutError: it goes on.
        """
        if self._task is not None:
            self._task.wait(timeout)

    def _work(self, pairs: list[Pair]) -> None:
        """Judge these, and what has come meanwhile."""
        try:
            while pairs:
                self._judge(pairs)
                with self._session.lock:  # so that nothing comes between looking and ending
                    pairs = self._find_pairs()
                    self._is_judging = bool(pairs)
        except BaseException:
            self._is_judging = False
            raise

    def _find_pairs(self) -> list[Pair]:
        """What is to be compared now."""
        state, baseline = self._session.run_state, self._baseline
        if baseline is None or state.phase != "idle" or not self._can_judge:
            return []
        return [(run, baseline) for run in state.history if self._is_open(run, baseline)]

    def _is_open(self, run: FinishedRun, baseline: FinishedRun) -> bool:
        passed = self._passed.get(run)
        if run is baseline or (passed is not None and passed() is baseline):
            return False
        if (run.number, baseline.number) in self._session.run_state.verdicts:
            return False
        found = compare_runs(run, baseline)
        is_open = found.largest is not None and not (found.is_same and found.must_match)
        if is_open and found.largest:
            is_open = can_compare(run, baseline) and _count_pixels(run) <= PIXELS
        if not is_open:
            self._passed[run] = ref(baseline)
        return is_open

    def _judge(self, pairs: list[Pair]) -> None:
        state = self._session.run_state
        for run, baseline in pairs:
            if state.phase != "idle":
                return
            verdict = Verdict.of(run, baseline)
            with self._session.lock:
                state.note_verdict(run, baseline, verdict)


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
