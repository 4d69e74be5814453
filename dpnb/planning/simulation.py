"""A pipeline's run without weights: what it holds, computes and needs, by stage and step.

The pipeline's own code runs, with whatever is switched on. Its networks are valueless: their
tensors have shapes, dtypes and lifetimes, and neither values nor memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.timeline import StepTimeline, TimelineRecorder
from dpnb.planning.valueless import ValuelessTensors
from dpnb.planning.workload import Workload
from dpnb.stages import Stage
from dpnb.strategies.strategy import Strategy

SIMULATED_STEPS = 4
"""So many denoising steps are simulated; those that follow are like the last of them."""


class Simulation:
    """Runs one valueless pipeline.

    Args:
        pipe: its networks are valueless.
        valueless_mode: the mode in which they run.
        workload: what is drawn.
        profile: of the device that would compute.

    Attributes:
        steps: of denoising in a whole run, as the last simulation has told.
    """

    def __init__(
        self,
        pipe: Any,
        valueless_mode: ValuelessTensors,
        workload: Workload,
        profile: DeviceProfile,
    ) -> None:
        self.pipe, self.valueless_mode = pipe, valueless_mode
        self.workload = workload.with_size_of(pipe)
        self.profile = profile
        self.steps = self.workload.steps
        pipe.strategies.networks.set_aside = lambda values: values.clone

    def use(self, plan: Iterable[Strategy]) -> None:
        """Switch exactly these strategies on.

        Raises:
            StrategyError: one cannot be switched on here.
        """
        with self.valueless_mode:
            self.pipe.strategies.use(plan)

    def obstacle(self, strategy: Strategy) -> str | None:
        """Why a strategy cannot be switched on, as a sentence; `None` where it can."""
        with self.valueless_mode:
            return self.pipe.strategies.obstacle(strategy)  # type: ignore[no-any-return]

    def run(self, denoising: int = SIMULATED_STEPS) -> list[StepTimeline]:
        """Run with what is switched on.

        Args:
            denoising: at the most so many steps; without any, noise is decoded as it is.

        Returns:
            The text stage, the denoising steps, and decoding.
        """
        recorder = TimelineRecorder(self.valueless_mode, self.profile)
        seen: list[StepTimeline] = []
        steps = self.pipe.stream(**self.workload.arguments(self.pipe.picture_inputs))
        with recorder.watch(self.pipe.strategies.networks):
            for step in steps:
                seen.append(recorder.end_step(step.stage.value))
                if step.stage is Stage.DENOISING:
                    self.steps = step.total
                done = sum(one.stage == Stage.DENOISING.value for one in seen)
                if done >= denoising and step.stage is not Stage.DECODING:
                    self.pipe.interrupt_run()
        return seen
