"""The log that makes every change reversible."""

from __future__ import annotations

from contextlib import ExitStack

from torch import Tensor


class RunWatcher:
    """What a strategy that keeps something from step to step is told of a run."""

    def begin(self) -> None:
        """A run begins, or the strategy is switched on in the middle of one."""

    def scheduled(self, timesteps: Tensor) -> None:
        """The run will visit `timesteps`, `[steps]`."""

    def before_step(self, index: int, total: int) -> None:
        """Denoising step `index` of `total` comes next."""

    def end(self) -> None:
        """The run is over, whether it came to its end or not."""


class Undo(ExitStack):
    """A log of reversible edits; closing it replays their inverses, last first."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers: list[RunWatcher] = []

    def set(self, target: object, name: str, value: object) -> None:
        """Set an attribute, to be set back."""
        self.callback(setattr, target, name, getattr(target, name))
        setattr(target, name, value)

    def watch(self, watcher: RunWatcher) -> None:
        """Let `watcher` hear of runs as long as the edits stand."""
        self.watchers.append(watcher)
        self.callback(self.watchers.remove, watcher)
