"""How much of a step was not computed, but taken from a former one."""

from __future__ import annotations

from typing_extensions import override

from dpnb.run_listener import RunKey, RunListener


class ReuseCount(RunListener[RunKey]):
    """Counts the calls of networks in the present step, and those that have reused something.

    Attributes:
        calls: in this step.
        reused: of these.
    """

    def __init__(self) -> None:
        self.calls = self.reused = 0

    def note_call(self, *, reuses: bool) -> None:
        """A network is called."""
        self.calls += 1
        self.reused += reuses

    @property
    def share(self) -> float:
        """Of the calls in this step that have reused something."""
        return self.reused / self.calls if self.calls else 0.0

    @override
    def begin_run(self, run: RunKey) -> None:
        """Count anew."""
        self.calls = self.reused = 0

    @override
    def before_step(self, run: RunKey, index: int, total: int) -> None:
        """Count anew."""
        self.calls = self.reused = 0
