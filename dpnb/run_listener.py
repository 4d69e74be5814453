"""Who listens to runs: one class for strategies, meters and panels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

from torch import Tensor

from dpnb.stages import Stage, Step

Foresee: TypeAlias = Callable[[], "Tensor | None"]
"""Computes the predicted latents without noise; `None` where the scheduler does not say."""


class RunKey:
    """One run: the key by which a listener tells runs apart."""


R = TypeVar("R", bound=RunKey, contravariant=True)


class RunListener(Generic[R]):
    """Callbacks of runs, which do nothing here; override those that are of interest.

    All are called in the thread of the run. An error that is raised in one stops the run, as one of
    the run itself does. A listener whose `begin_run` was called also has its `end_run` called.

    What a strategy lets watch (`Undo.watch`) hears `begin_run`, `set_timesteps`, `before_step`,
    `after_steps` and `end_run`, while nobody else uses the networks: also where it is switched on
    in the middle of a run, and once more when its memory is freed there. Whom a pipeline lets watch
    (`DiffusionPipeline.watch`) hears `begin_run`, `begin_step`, `after_prediction`, `end_step`,
    `between_steps` and `end_run`, each but the third outside of what strategies do for it. The type
    parameter is the kind of run that is heard of.
    """

    @property
    def remark(self) -> str:
        """What a strategy has to say of its work so far, as a sentence; nothing by default."""
        return ""

    def begin_run(self, run: R) -> None:
        """A run begins; nothing has been computed yet, or nothing is kept of what has been."""

    def set_timesteps(self, run: R, timesteps: Tensor) -> None:
        """The run's steps are `timesteps`, `[steps]`."""

    def begin_step(self, run: R, stage: Stage) -> None:
        """The work on a step of `stage` begins."""

    def before_step(self, run: R, index: int, total: int) -> None:
        """Denoising step `index` of `total` comes next: the network is called for it."""

    def after_steps(self, run: R) -> None:
        """The last denoising step is done, or the run was told to end before it."""

    def after_prediction(self, run: R, index: int, foresee: Foresee) -> None:
        """Denoising step `index` knows what its network predicts, and has not used it yet.

        Args:
            run: which one.
            index: of the step, from 0.
            foresee: what the latents are going to be, as far as is known now: of the guided
                prediction, in the shape, on the device and in the dtype of the latents. It computes
                when it is called, and keeps the prediction alive as long as it is kept.
        """

    def end_step(self, run: R, step: Step) -> None:
        """A step is done, and is handed to the caller next."""

    def between_steps(self, run: R) -> None:
        """The run pauses between two steps: anything may be switched now."""

    def end_run(self, run: R, error: BaseException | None) -> None:
        """A run is over, or what is kept of it is to be freed.

        Args:
            run: which one.
            error: what has stopped it: `GeneratorExit` where the caller gave it up between two
                steps, `None` where it came to its end.
        """
