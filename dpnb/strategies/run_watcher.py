"""What a strategy that keeps something from step to step hears of a run."""

from __future__ import annotations

from torch import Tensor


class RunWatcher:
    """What a strategy that keeps something from step to step hears of a run."""

    def begin(self) -> None:
        """A run begins, or the strategy is switched on in the middle of one."""

    def set_timesteps(self, timesteps: Tensor) -> None:
        """The run's steps are `timesteps`, `[steps]`."""

    def before_step(self, index: int, total: int) -> None:
        """Denoising step `index` of `total` comes next."""

    def end(self) -> None:
        """The run is over, whether it came to its end or not."""
