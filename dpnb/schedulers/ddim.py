"""Denoising diffusion implicit models: Song et al. (2020), arXiv:2010.02502."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.numbers import parse_number
from dpnb.schedulers import noise
from dpnb.schedulers.config import SchedulerConfig
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.variance_preserving import (
    VariancePreservingConfig,
    VariancePreservingScheduler,
    amplitudes,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class DDIMConfig(VariancePreservingConfig):
    """Settings of `DDIMScheduler`; with `set_alpha_to_one` the last step removes all noise."""

    set_alpha_to_one: bool = True


class DDIMScheduler(VariancePreservingScheduler):
    """DDIM: with `eta` 0 a step is deterministic, with `eta` 1 it adds as much noise as DDPM's.

    Steps may come in any order: the value of a number, of a CPU tensor and of a view into
    `timesteps` is read. Any other tensor counts as the entry after that of the last step.
    """

    config_class: ClassVar[type[SchedulerConfig]] = DDIMConfig
    config: DDIMConfig

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: Generators = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One step of arXiv:2010.02502, eq. 12; see `Scheduler.step`.

        Args:
            model_output: as there.
            timestep: as there.
            sample: as there.
            eta: how much noise the step adds, between none (0) and DDPM's (1); eq. 16.
            use_clipped_model_output: derive the noise from the clipped prediction of the original.
            generator: as there.
            variance_noise: the noise to add, of the sample's shape, in place of a generator.
            return_dict: as there.
        """
        t, eta = self._timestep_value(timestep), parse_number("eta", eta)
        alpha_bar, alpha_bar_prev = self._alpha_bars[t], self._alpha_bar_prev(t)
        alpha, sigma = amplitudes(alpha_bar)
        std = eta * math.sqrt(_variance(alpha_bar, alpha_bar_prev))

        original = self._predict_original(model_output, sample, alpha_bar)
        if use_clipped_model_output:
            noise_pred = noise.weighted_sum((1 / sigma, sample), (-alpha / sigma, original))
        else:
            a, b = noise.noise_weights(self.config.prediction_type, alpha, sigma)
            noise_pred = noise.weighted_sum((a, sample), (b, model_output))
        direction = math.sqrt(max(1 - alpha_bar_prev - std**2, 0.0))
        prev_sample = noise.weighted_sum(
            (math.sqrt(alpha_bar_prev), original), (direction, noise_pred)
        )
        if eta > 0:
            fresh = noise.randn_like(model_output, generator, variance_noise)
            prev_sample = noise.weighted_sum((1.0, prev_sample), (std, fresh))
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    def _get_variance(self, timestep: int, prev_timestep: int) -> Tensor:
        """What `eta` 1 adds on the way between two timesteps; the latter is negative at the end."""
        end = self._final_alpha_bar
        there = self._alpha_bars[prev_timestep] if prev_timestep >= 0 else end
        return torch.tensor(_variance(self._alpha_bars[timestep], there))

    def _alpha_bar_prev(self, t: int) -> float:
        previous = t - len(self) // (self.num_inference_steps or 1)
        return self._alpha_bars[previous] if previous >= 0 else self._final_alpha_bar


def _variance(alpha_bar: float, alpha_bar_prev: float) -> float:
    return (1 - alpha_bar_prev) / (1 - alpha_bar) * (1 - alpha_bar / alpha_bar_prev)
