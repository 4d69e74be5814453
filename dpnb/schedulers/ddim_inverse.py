"""DDIM from a picture to its noise: Song et al. (2020), arXiv:2010.02502, section 4.3."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import Positive, SchedulerConfig
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array, TimestepSpacing
from dpnb.schedulers.variance_preserving import amplitudes


@dataclass(frozen=True, kw_only=True, eq=False)
class DDIMInverseConfig(SchedulerConfig):
    """Settings of `DDIMInverseScheduler`.

    With `set_alpha_to_one` the run starts from a sample without noise, else with that of the first
    training step. With `clip_sample` predicted originals are clipped.
    """

    timestep_spacing: TimestepSpacing = "leading"
    clip_sample: bool = True
    clip_sample_range: Positive = 1.0
    set_alpha_to_one: bool = True
    rescale_betas_zero_snr: bool = False


class DDIMInverseScheduler(DiffusionScheduler):
    """The steps of `DDIMScheduler` in the other direction: `timesteps` ascend.

    A step leads to its timestep, as if the model had said the same at the less noisy one.
    """

    config_class: ClassVar[type[SchedulerConfig]] = DDIMInverseConfig
    config: DDIMInverseConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._set_schedule(np.arange(len(self)), None)

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
        """One step of arXiv:2010.02502, eq. 13, towards the noise; see `Scheduler.step`.

        Raises:
            ValueError: also where the model predicts the sample, from one without noise, which
                says nothing of the noise.
        """
        t = self._timestep_value(timestep)
        alpha, sigma = amplitudes(self._alpha_bar_before(t))
        kind = self.config.prediction_type
        if sigma == 0 and kind == "sample":
            raise ValueError(
                'prediction_type "sample" cannot start without noise, as set_alpha_to_one asks; '
                "switch it off."
            )
        original = self._predict_original(model_output, sample, alpha, sigma)
        a, b = noise.noise_weights(kind, alpha, sigma)
        noise_pred = noise.weighted_sum((a, sample), (b, model_output))
        alpha, sigma = amplitudes(self._alpha_bars[t])
        prev_sample = noise.weighted_sum((alpha, original), (sigma, noise_pred))
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        t, _ = self._read_timestep(timestep)
        mixture = amplitudes(self._alpha_bar_before(t))
        return self._predict_original(model_output, sample, *mixture)

    def _predict_original(
        self, model_output: Tensor, sample: Tensor, alpha: float, sigma: float
    ) -> Tensor:
        """The predicted original sample, clipped as the configuration says."""
        a, b = noise.original_weights(self.config.prediction_type, alpha, sigma)
        original = noise.weighted_sum((a, sample), (b, model_output))
        limit = self.config.clip_sample_range
        return original.clamp(-limit, limit) if self.config.clip_sample else original

    def _alpha_bar_before(self, t: int) -> float:
        """That of the less noisy timestep, from which a step to `t` starts."""
        before = t - len(self) // (self.num_inference_steps or 1)
        return self._alpha_bars[before] if before >= 0 else self._final_alpha_bar

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        ascending: Array = np.flip(super()._plan_timesteps(count, timesteps, sigmas)).copy()
        return ascending
