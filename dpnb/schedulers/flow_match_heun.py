"""Heun's method for flow-matching models: Karras et al. (2022), arXiv:2206.00364, algorithm 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device
from dpnb.generators import Generators
from dpnb.numbers import parse_number
from dpnb.schedulers import noise
from dpnb.schedulers.config import BaseSchedulerConfig, check_steps
from dpnb.schedulers.flow_matching import FlowMatchConfig, FlowMatchScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import shift_sigmas


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowMatchHeunDiscreteConfig(FlowMatchConfig):
    """Settings of `FlowMatchHeunDiscreteScheduler`."""


class FlowMatchHeunDiscreteScheduler(FlowMatchScheduler):
    """The trapezoidal rule: a trial Euler step, then one with the mean of both ends' flows.

    Each noise level but the first is in `timesteps` twice; the last step is an Euler step.
    """

    config_class: ClassVar[type[BaseSchedulerConfig]] = FlowMatchHeunDiscreteConfig
    order: ClassVar[int] = 2
    config: FlowMatchHeunDiscreteConfig
    _trial: list[tuple[Tensor, Tensor, float]]
    """The sample that a trial step began with, its flow, and the length of the step; else empty."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._trial = []

    @override
    def set_timesteps(self, num_inference_steps: int, device: Device | None = None) -> None:
        """Set the timesteps of a run of so many steps; the state of an earlier run is dropped.

        Raises:
            ValueError: the model was trained with fewer steps than a tenth of these.
        """
        count = check_steps(num_inference_steps, len(self), is_continuous=True)
        levels = shift_sigmas(self._space_sigmas(count), self.config.shift).astype(np.float32)
        self.num_inference_steps, self._trial = count, []
        twice = levels.repeat(2)[1:]
        self._set_sigmas(np.append(twice, np.float32(0)))
        self._set_schedule(twice * np.float32(len(self)), device)

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        s_churn: float = 0.0,
        s_tmin: float = 0.0,
        s_tmax: float = float("inf"),
        s_noise: float = 1.0,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Lines 4 to 6, or 7 and 8, of arXiv:2206.00364, algorithm 1, in float32.

        Args:
            model_output: see `Scheduler.step`.
            timestep: as there.
            sample: as there.
            s_churn: how much noise to add over the whole run; none by default.
            s_tmin: the smallest sigma at which noise is added.
            s_tmax: the largest.
            s_noise: the standard deviation of that noise.
            generator: as there.
            return_dict: as there.
        """
        index = self._current_index(timestep)
        sigma, following = (float(level) for level in self._run_sigmas[index : index + 2])
        if not self._trial:
            sample = noise.at_least_float32(sample)
            churn = parse_number("s_churn", s_churn) if s_tmin <= sigma <= s_tmax else 0.0
            gamma = min(churn / (len(self._run_sigmas) - 1), math.sqrt(2) - 1)
            raised = sigma * (gamma + 1)
            if gamma > 0:
                extra = parse_number("s_noise", s_noise) * math.sqrt(raised**2 - sigma**2)
                fresh = noise.randn_like(model_output, generator)
                sample = noise.weighted_sum((1.0, sample), (extra, fresh))
            flow, length = model_output * (1 / (gamma + 1)), following - raised
            self._trial = [(sample, flow, length)]
            stepped = noise.weighted_sum((1.0, sample), (length, flow))
        else:
            start, flow, length = self._trial.pop()
            terms = (length / 2, flow), (length / 2, model_output)
            stepped = noise.weighted_sum((1.0, start), *terms)
        self._step_index = index + 1
        return SchedulerOutput(stepped.to(model_output.dtype)).as_asked(return_dict)
