"""Trajectory consistency distillation: Zheng et al. (2024), arXiv:2402.19159."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.numbers import parse_int, parse_number
from dpnb.schedulers import noise
from dpnb.schedulers.config import SchedulerConfig
from dpnb.schedulers.distilled import DistilledConfig, DistilledScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_preserving import amplitudes


@dataclass(frozen=True, kw_only=True, eq=False)
class TCDConfig(DistilledConfig):
    """Settings of `TCDScheduler`; predicted originals are neither thresholded nor clipped."""


@dataclass(eq=False)
class TCDSchedulerOutput(SchedulerOutput):
    """What `TCDScheduler.step` returns.

    Args:
        prev_sample: the next sample.
        pred_original_sample: None.
        pred_noised_sample: the predicted sample at the time to which the step went before it added
            noise.
    """

    pred_noised_sample: Tensor | None = None


class TCDScheduler(DistilledScheduler):
    """TCD: each step goes further than the next timestep, and returns to it with fresh noise.

    With `original_inference_steps` in `set_timesteps` a run may visit every training step.
    """

    config_class: ClassVar[type[SchedulerConfig]] = TCDConfig
    config: TCDConfig

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        eta: float = 0.3,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One step of strategic stochastic sampling, arXiv:2402.19159, algorithm 4.

        Args:
            model_output: see `Scheduler.step`.
            timestep: as there.
            sample: as there.
            eta: the paper's gamma: how much further the step goes, from not at all (0, which adds
                no noise) to the original sample (1).
            generator: as there.
            return_dict: as there.
        """
        index, eta = self._current_index(timestep), parse_number("eta", eta, least=0, most=1)
        is_last = index + 1 == len(self._schedule)
        following = 0 if is_last else int(self._schedule[index + 1])
        further = math.floor(np.float32(1 - eta) * np.float32(following))
        alpha_bar, alpha_bar_s = (
            self._alpha_bars[t] for t in (int(self._schedule[index]), further)
        )
        noised = self._transfer(model_output, sample, alpha_bar, alpha_bar_s)
        self._step_index = index + 1
        prev_sample = noised
        if eta > 0 and not is_last:
            kept, added = amplitudes(self._alpha_bars[following] / alpha_bar_s)
            fresh = noise.randn_like(model_output, generator, dtype=noised.dtype)
            prev_sample = noise.weighted_sum((kept, noised), (added, fresh))
        return TCDSchedulerOutput(prev_sample, pred_noised_sample=noised).as_asked(return_dict)

    def _transfer(
        self, model_output: Tensor, sample: Tensor, alpha_bar: float, alpha_bar_s: float
    ) -> Tensor:
        """Along the trajectory: arXiv:2402.19159, eq. 17, in its form of order 1, which is DDIM."""
        kind, here, there = (
            self.config.prediction_type,
            amplitudes(alpha_bar),
            amplitudes(alpha_bar_s),
        )
        original, noise_pred = (
            noise.weighted_sum((a, sample), (b, model_output))
            for a, b in (noise.original_weights(kind, *here), noise.noise_weights(kind, *here))
        )
        return noise.weighted_sum((there[0], original), (there[1], noise_pred))

    @override
    def _limit(self, original: Tensor) -> Tensor:
        return original

    @override
    def _distilled_timesteps(self, original_steps: int | None, strength: float) -> Array:
        if original_steps is None:
            return super()._distilled_timesteps(None, strength)
        parse_int("original_inference_steps", original_steps, least=1, most=len(self))
        return np.arange(int(len(self) * strength))
