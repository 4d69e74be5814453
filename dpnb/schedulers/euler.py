"""Euler's method in sigma: Karras et al. (2022), arXiv:2206.00364, algorithm 2, first order."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.numbers import parse_number
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import PREDICTIONS, Positive, SchedulerConfig, check_choice
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import VarianceExplodingScheduler


@dataclass(frozen=True, kw_only=True, eq=False)
class EulerDiscreteConfig(SchedulerConfig):
    """Settings of `EulerDiscreteScheduler`.

    `interpolation_type` `"log_linear"` spaces sigmas evenly in their logarithm over the whole
    training schedule. With `timestep_type` `"continuous"` a v-prediction model is given
    `log(sigma) / 4` as its timestep. `sigma_min` and `sigma_max` bound karras, exponential and
    beta sigmas.
    """

    prediction_types: ClassVar[tuple[str, ...]] = (*PREDICTIONS, "original_sample")

    interpolation_type: Literal["linear", "log_linear"] = "linear"
    use_karras_sigmas: bool | None = False
    use_exponential_sigmas: bool | None = False
    use_beta_sigmas: bool | None = False
    sigma_min: Positive | None = None
    sigma_max: Positive | None = None
    timestep_type: Literal["discrete", "continuous"] = "discrete"
    rescale_betas_zero_snr: bool = False
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("interpolation_type", self.interpolation_type, ("linear", "log_linear"))
        check_choice("timestep_type", self.timestep_type, ("discrete", "continuous"))
        check_choice("final_sigmas_type", self.final_sigmas_type, ("zero", "sigma_min"))

    @property
    def is_continuous(self) -> bool:
        """Whether the model is given `log(sigma) / 4` as its timestep."""
        return self.timestep_type == "continuous" and self.prediction_type == "v_prediction"


class EulerDiscreteScheduler(VarianceExplodingScheduler):
    """Euler steps along the probability-flow ODE; `s_churn` adds noise before each step."""

    config_class: ClassVar[type[SchedulerConfig]] = EulerDiscreteConfig
    accepts: ClassVar[frozenset[str]] = frozenset({"timesteps", "sigmas"})
    config: EulerDiscreteConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        if self.config.is_continuous:
            self._set_schedule(self._log_sigmas(), None)

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
        """Lines 4 to 8 of arXiv:2206.00364, algorithm 2, in float32; see `Scheduler.step`.

        Args:
            model_output: as there.
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
        sigma, sigma_next = self._sigmas[index], self._sigmas[index + 1]
        sample = noise.at_least_float32(sample)
        churn = parse_number("s_churn", s_churn) / (len(self._sigmas) - 1)
        sigma_hat = churned_sigma(sigma, churn, s_tmin, s_tmax)
        if sigma_hat > sigma:
            extra = parse_number("s_noise", s_noise) * math.sqrt(sigma_hat**2 - sigma**2)
            sample = noise.weighted_sum(
                (1.0, sample), (extra, noise.randn_like(model_output, generator))
            )

        is_epsilon = self.config.prediction_type == "epsilon"
        original = self._predict_original(model_output, sample, sigma_hat if is_epsilon else sigma)
        prev_sample = euler_step(original, sample, sigma_next / sigma_hat)
        self._step_index = index + 1
        return SchedulerOutput(prev_sample.to(model_output.dtype), original).as_asked(return_dict)

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        if timesteps is not None and self.config.is_continuous:
            raise ValueError(
                'timestep_type "continuous" takes no custom timesteps, since it derives them from '
                "sigmas; pass sigmas or num_inference_steps."
            )
        if sigmas is None:
            planned = super()._plan_timesteps(count, timesteps, None)
        else:
            sigmas = sigmas.astype(np.float32)
            planned = spacing.sigmas_to_timesteps(sigmas[:-1], np.log(self._train_sigmas))
            self._set_sigmas(sigmas[:-1], sigmas[-1])
        return (
            self._log_sigmas()[:count] if self.config.is_continuous else planned.astype(np.float32)
        )

    @override
    def _sigmas_at(self, timesteps: Array) -> Array:
        if self.config.interpolation_type == "linear":
            return super()._sigmas_at(timesteps)
        low, high = np.log(self._train_sigmas[[0, -1]]).tolist()
        levels: Array = torch.linspace(high, low, len(timesteps) + 1).exp().numpy()
        return levels

    @override
    def _final_sigma(self) -> float:
        return 0.0 if self.config.final_sigmas_type == "zero" else float(self._train_sigmas[0])

    def _log_sigmas(self) -> Array:
        levels: Array = (0.25 * torch.log(self.sigmas[:-1])).numpy()
        return levels


def churned_sigma(sigma: float, churn: float, s_tmin: float, s_tmax: float) -> float:
    """The noise level to which noise is added before a step: arXiv:2206.00364, algorithm 2.

    Args:
        sigma: where the step begins.
        churn: the share by which to go up, at most `sqrt(2) - 1`.
        s_tmin: the smallest sigma at which noise is added.
        s_tmax: the largest.
    """
    if churn <= 0 or not s_tmin <= sigma <= s_tmax:
        return sigma
    return sigma * (1 + min(churn, math.sqrt(2) - 1))


def euler_step(original: Tensor, sample: Tensor, share: float) -> Tensor:
    """An Euler step of `sample` towards `original`, to `share` of its sigma.

    Equal to `sample + (sample - original) / sigma · (sigma_next - sigma)`: arXiv:2206.00364,
    eq. 3, in one operation.
    """
    if original.dtype == sample.dtype:
        return torch.lerp(original, sample, share)
    return noise.weighted_sum((share, sample), (1 - share, original))
