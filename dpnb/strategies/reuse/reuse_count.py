"""How much of a step was not computed, but taken from a former one."""

from __future__ import annotations

from typing_extensions import override

from dpnb.run_listener import RunKey, RunListener


class ReuseCount(RunListener[RunKey]):
    """Counts the calls of networks in the present step, and those that have reused something.

    After a whole run in which none has, `remark` says so.

    Attributes:
        calls: in this step.
        reused: of these.
    """

    def __init__(self) -> None:
        self.calls = self.reused = 0
        self._steps = self._total = self._idle = 0
        self._has_reused = False

    def note_call(self, *, reuses: bool) -> None:
        """A network is called."""
        self.calls += 1
        self.reused += reuses
        self._has_reused = self._has_reused or reuses

    @property
    def share(self) -> float:
        """Of the calls in this step that have reused something."""
        return self.reused / self.calls if self.calls else 0.0

    @property
    @override
    def remark(self) -> str:
        """What there is to say where the last run has reused nothing."""
        if not self._idle:
            return ""
        return (
            f"Nothing was reused in the {self._idle} steps of the last run; draw in more steps, "
            "let the cache compute fewer at the beginning and the end, or raise its interval or "
            "its threshold."
        )

    @override
    def begin_run(self, run: RunKey) -> None:
        """Count anew."""
        self.calls = self.reused = 0
        self._steps = self._total = self._idle = 0
        self._has_reused = False

    @override
    def before_step(self, run: RunKey, index: int, total: int) -> None:
        """Count anew."""
        self.calls = self.reused = 0
        self._steps, self._total = self._steps + 1, total

    @override
    def end_run(self, run: RunKey, error: BaseException | None) -> None:
        """Remember of how many steps none has reused anything."""
        is_whole = error is None and self._steps == self._total
        self._idle = self._steps if is_whole and not self._has_reused else 0
