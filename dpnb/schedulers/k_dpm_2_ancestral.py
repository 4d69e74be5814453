"""DPM-Solver-2 with ancestral noise, of Katherine Crowson's k-diffusion."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.k_dpm_2 import KDPM2DiscreteScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array


class KDPM2AncestralDiscreteScheduler(KDPM2DiscreteScheduler):
    """`KDPM2DiscreteScheduler` to below the next sigma, and fresh noise up to it.

    A step keeps the posterior's variance, as one of `EulerAncestralDiscreteScheduler` does.
    """

    _ups: list[float]

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Half a step of arXiv:2206.00927, algorithm 1, and noise at its end."""
        index = self._current_index(timestep)
        is_end = self._start is not None
        prev_sample, original = self._advance(model_output, index, sample)
        if is_end:
            fresh = noise.randn_like(model_output, generator)
            prev_sample = noise.weighted_sum((1.0, prev_sample), (self._ups[index // 2], fresh))
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    @override
    def _find_ends(self, sigmas: Array) -> Array:
        """Below the next sigma: `up² = sigma_next² · (sigma² - sigma_next²) / sigma²`."""
        here, following = sigmas[:-1], sigmas[1:]
        falls = np.maximum(here**2 - following**2, 0)
        self._ups: list[float] = (following * np.sqrt(falls) / here).tolist()
        ends: Array = following**2 / here
        return ends
