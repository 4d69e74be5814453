"""A pipeline's run without weights: what it holds, computes and needs, by stage and step.

The pipeline's own code runs, with whatever is switched on. Its networks are valueless: their
tensors have shapes, dtypes and lifetimes, and neither values nor memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dpnb.pipelines.steps import Stage
from dpnb.planning.devices import DeviceProfile
from dpnb.planning.timeline import Observer, StepTimeline
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.workload import Workload
from dpnb.strategies.strategy import Strategy

TRACED_STEPS = 4
"""So many denoising steps are simulated; those that follow are like the last of them."""


class Simulation:
    """Runs of one valueless pipeline.

    Args:
        pipe: its networks are valueless.
        valueless: made them so.
        workload: what is drawn.
        profile: of the device that would compute.

    Attributes:
        steps: of denoising in a whole run, as the last simulation has told.
    """

    def __init__(
        self, pipe: Any, valueless: ValuelessTensors, workload: Workload, profile: DeviceProfile
    ) -> None:
        self.pipe, self.valueless = pipe, valueless
        self.workload = workload.sized(pipe)
        self.profile = profile
        self.steps = self.workload.steps
        pipe.strategies.networks.set_aside = lambda values: values.clone

    def use(self, plan: Iterable[Strategy]) -> None:
        """Switch exactly these strategies on.

        Raises:
            StrategyError: one cannot be switched on here.
        """
        with self.valueless:
            self.pipe.strategies.use(plan)

    def obstacle(self, strategy: Strategy) -> str | None:
        """Why a strategy cannot be switched on, as a sentence; `None` where it can."""
        with self.valueless:
            return self.pipe.strategies.obstacle(strategy)  # type: ignore[no-any-return]

    def run(self, denoising: int = TRACED_STEPS) -> list[StepTimeline]:
        """Run with what is switched on.

        Args:
            denoising: at the most so many steps; without any, noise is decoded as it is.

        Returns:
            The text stage, the denoising steps, and decoding.
        """
        observer = Observer(self.valueless, self.profile)
        seen: list[StepTimeline] = []
        steps = self.pipe.stream(**self.workload.arguments(self.pipe.picture_inputs))
        with observer.watching(self.pipe.strategies.networks):
            for step in steps:
                seen.append(observer.take(step.stage.value))
                if step.stage is Stage.DENOISING:
                    self.steps = step.total
                done = sum(one.stage == Stage.DENOISING.value for one in seen)
                if done >= denoising and step.stage is not Stage.DECODING:
                    self.pipe._interrupt = True
        return seen
