"""Schedulers that work on `alpha · original + sigma · noise` of unit variance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from dpnb.schedulers import noise
from dpnb.schedulers.config import Positive, SchedulerConfig, Share
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.scheduler import Timestep
from dpnb.schedulers.spacing import TimestepSpacing


@dataclass(frozen=True, kw_only=True, eq=False)
class VariancePreservingConfig(SchedulerConfig):
    """Settings of `VariancePreservingScheduler`: predicted originals are thresholded or clipped."""

    timestep_spacing: TimestepSpacing = "leading"
    clip_sample: bool = True
    clip_sample_range: Positive = 1.0
    thresholding: bool = False
    dynamic_thresholding_ratio: Share = 0.995
    sample_max_value: Positive = 1.0
    rescale_betas_zero_snr: bool = False


class VariancePreservingScheduler(DiffusionScheduler):
    """Base of the schedulers that look `alphas_cumprod` up by timestep."""

    config_class: ClassVar[type[SchedulerConfig]] = VariancePreservingConfig
    config: VariancePreservingConfig

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        t, _ = self._read_timestep(timestep)
        return self._predict_original(model_output, sample, self._alpha_bars[t])

    def _predict_original(self, model_output: Tensor, sample: Tensor, alpha_bar: float) -> Tensor:
        """The predicted original sample, thresholded or clipped as the configuration says."""
        a, b = noise.original_weights(self.config.prediction_type, *amplitudes(alpha_bar))
        return self._limit(noise.weighted_sum((a, sample), (b, model_output)))

    def _predict_originals(
        self, model_output: Tensor, sample: Tensor, alphas: Tensor, sigmas: Tensor
    ) -> Tensor:
        """`_predict_original` where each sample has amplitudes of its own, `[batch, 1, ...]`."""
        kind = self.config.prediction_type
        if kind == "epsilon":
            return self._limit((sample - sigmas * model_output) / alphas)
        return self._limit(
            model_output if kind == "sample" else alphas * sample - sigmas * model_output
        )

    def _alpha_bars_at(self, timesteps: Tensor, like: Tensor) -> Tensor:
        """`alphas_cumprod` at `timesteps` `[batch]`, shaped for `like`; below 0 where runs end."""
        table = self._alpha_bars_on_device_of(timesteps)
        levels = table.index_select(0, timesteps.long().clamp(min=0))
        levels = levels.where(timesteps >= 0, self._final_alpha_bar).to(
            like.device, non_blocking=True
        )
        return levels.view(-1, *[1] * (like.ndim - 1))

    def _limit(self, original: Tensor) -> Tensor:
        config = self.config
        if config.thresholding:
            return noise.threshold(
                original, config.dynamic_thresholding_ratio, config.sample_max_value
            )
        if config.clip_sample:
            return original.clamp(-config.clip_sample_range, config.clip_sample_range)
        return original


def amplitudes(alpha_bar: float) -> tuple[float, float]:
    """`(alpha, sigma)`, the factors of original and noise: the square roots of their variances."""
    return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
