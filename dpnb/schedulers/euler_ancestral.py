"""Euler's method with ancestral noise, of Katherine Crowson's k-diffusion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import SchedulerConfig
from dpnb.schedulers.euler import euler_step
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.variance_exploding import VarianceExplodingScheduler


@dataclass(frozen=True, kw_only=True, eq=False)
class EulerAncestralDiscreteConfig(SchedulerConfig):
    """Settings of `EulerAncestralDiscreteScheduler`."""

    rescale_betas_zero_snr: bool = False


class EulerAncestralDiscreteScheduler(VarianceExplodingScheduler):
    """Euler steps to below the next sigma, and fresh noise that brings the sample up to it."""

    config_class: ClassVar[type[SchedulerConfig]] = EulerAncestralDiscreteConfig
    config: EulerAncestralDiscreteConfig

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One ancestral step, in float32; see `Scheduler.step`.

        It keeps the posterior's variance of arXiv:2006.11239, eq. 7, with sigma for noise levels:
        `up² = sigma_next² · (sigma² - sigma_next²) / sigma²` and `down² = sigma_next² - up²`.
        """
        index = self._current_index(timestep)
        sigma, sigma_next = self._sigmas[index], self._sigmas[index + 1]
        up = sigma_next * math.sqrt(max(sigma**2 - sigma_next**2, 0.0)) / sigma
        down = sigma_next**2 / sigma

        sample = noise.at_least_float32(sample)
        original = self._predict_original(model_output, sample, sigma)
        fresh = noise.randn_like(model_output, generator)
        prev_sample = noise.weighted_sum(
            (1.0, euler_step(original, sample, down / sigma)), (up, fresh)
        )
        self._step_index = index + 1
        return SchedulerOutput(prev_sample.to(model_output.dtype), original).as_asked(return_dict)
