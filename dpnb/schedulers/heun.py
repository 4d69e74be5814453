"""Heun's method in sigma: Karras et al. (2022), arXiv:2206.00364, algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import Beta, Positive, SchedulerConfig
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import SecondOrderScheduler


@dataclass(frozen=True, kw_only=True, eq=False)
class HeunDiscreteConfig(SchedulerConfig):
    """Settings of `HeunDiscreteScheduler`; with `clip_sample` predicted originals are clipped."""

    beta_start: Beta = 0.00085
    beta_end: Beta = 0.012
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False
    clip_sample: bool = False
    clip_sample_range: Positive = 1.0


class HeunDiscreteScheduler(SecondOrderScheduler):
    """The trapezoidal rule: a trial Euler step, then one with the mean of both ends' slopes.

    Each noise level but the first is in `timesteps` twice, as the end of one step and the start of
    the next; the last step goes to sigma 0 and is an Euler step.
    """

    config_class: ClassVar[type[SchedulerConfig]] = HeunDiscreteConfig
    accepts: ClassVar[frozenset[str]] = frozenset({"timesteps"})
    config: HeunDiscreteConfig
    _trial: list[Tensor]
    """The sample that a trial Euler step began with, and its slope times sigma; else empty."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._trial = []
        self._set_schedule(np.repeat(self.timesteps.numpy(), 2)[1:], None)

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        *,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Lines 4 and 5, or 7 and 8, of arXiv:2206.00364, algorithm 1; see `Scheduler.step`."""
        index = self._current_index(timestep)
        sigma, sigma_next = self._sigmas[index], self._sigmas[index + 1]
        original = self._predict_original(model_output, sample, sigma)
        drift = sample - original
        if not self._trial:
            prev_sample = noise.weighted_sum((1.0, sample), ((sigma_next - sigma) / sigma, drift))
            self._trial, self._trial_sigma = [sample, drift], sigma
        else:
            start, start_drift = self._trial
            half = (sigma - self._trial_sigma) / 2
            prev_sample = noise.weighted_sum(
                (1.0, start), (half / self._trial_sigma, start_drift), (half / sigma, drift)
            )
            self._trial = []
        self._step_index = index + 1
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    @override
    def _predict_original(self, model_output: Tensor, sample: Tensor, sigma: float) -> Tensor:
        """The predicted original sample, clipped as the configuration says."""
        original = super()._predict_original(model_output, sample, sigma)
        limit = self.config.clip_sample_range
        return original.clamp(-limit, limit) if self.config.clip_sample else original

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        self._trial = []
        return np.repeat(super()._plan_timesteps(count, timesteps, sigmas), 2)[1:]

    @override
    def _set_sigmas(self, levels: Array, final: float) -> None:
        super()._set_sigmas(np.repeat(levels, 2)[1:], final)
