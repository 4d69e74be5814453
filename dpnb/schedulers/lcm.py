"""Latent consistency models: Luo et al. (2023), arXiv:2310.04378."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import SchedulerConfig
from dpnb.schedulers.distilled import DistilledConfig, DistilledScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.variance_preserving import amplitudes

SIGMA_DATA = 0.5
"""The standard deviation of the data in the boundary condition."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LCMConfig(DistilledConfig):
    """Settings of `LCMScheduler`; `timestep_scaling` sharpens the boundary condition."""


@dataclass(eq=False)
class LCMSchedulerOutput(SchedulerOutput):
    """What `LCMScheduler.step` returns.

    Args:
        prev_sample: the next sample.
        pred_original_sample: None.
        denoised: the predicted sample without noise, after the boundary condition.
    """

    denoised: Tensor | None = None


class LCMScheduler(DistilledScheduler):
    """LCM: each step predicts the final sample, and adds fresh noise for the next timestep."""

    config_class: ClassVar[type[SchedulerConfig]] = LCMConfig
    config: LCMConfig

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One step of multistep sampling, arXiv:2310.04378, algorithm 3; see `Scheduler.step`."""
        index = self._current_index(timestep)
        t = int(self._schedule[index])
        skip, out = self._boundary(t)
        original = self._predict_original(model_output, sample, self._alpha_bars[t])
        denoised = noise.weighted_sum((out, original), (skip, sample))
        self._step_index = index + 1
        if index + 1 == len(self._schedule):
            return LCMSchedulerOutput(denoised, denoised=denoised).as_asked(return_dict)

        alpha, sigma = amplitudes(self._alpha_bars[int(self._schedule[index + 1])])
        fresh = noise.randn_like(model_output, generator, dtype=denoised.dtype)
        prev_sample = noise.weighted_sum((alpha, denoised), (sigma, fresh))
        return LCMSchedulerOutput(prev_sample, denoised=denoised).as_asked(return_dict)

    def _boundary(self, timestep: int) -> tuple[float, float]:
        """`(c_skip, c_out)`: Song et al. (2023), arXiv:2303.01469, appendix C."""
        scaled = timestep * self.config.timestep_scaling
        spread = scaled**2 + SIGMA_DATA**2
        return SIGMA_DATA**2 / spread, scaled / math.sqrt(spread)
