"""Solvers whose clock is lambda, half the logarithm of the signal-to-noise ratio.

With `lambda = log(alpha / sigma)` the linear part of the diffusion ODE is solved exactly, and only
the model's output is approximated: Lu et al. (2022), DPM-Solver, arXiv:2206.00927, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import Positive, SchedulerConfig, Share, check_choice
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import per_sample


@dataclass(frozen=True, kw_only=True, eq=False)
class LogSNRConfig(SchedulerConfig):
    """What DPM-Solver and UniPC share; the settings for flow-matching models are not supported.

    Raises:
        ValueError: a setting is not one of the values that this scheduler knows.
    """

    solver_order: int = 2
    thresholding: bool = False
    dynamic_thresholding_ratio: Share = 0.995
    sample_max_value: Positive = 1.0
    lower_order_final: bool = True
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False
    use_flow_sigmas: bool = False
    flow_shift: Positive = 1.0
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    rescale_betas_zero_snr: bool = False
    use_dynamic_shifting: bool = False
    time_shift_type: Literal["exponential"] = "exponential"

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("final_sigmas_type", self.final_sigmas_type, ("zero", "sigma_min"))
        if self.use_flow_sigmas or self.use_dynamic_shifting:
            raise ValueError(
                "use_flow_sigmas and use_dynamic_shifting are for flow-matching models, which this "
                "scheduler does not solve; use FlowMatchEulerDiscreteScheduler."
            )


class LogSNRScheduler(DiffusionScheduler):
    """Base of DPM-Solver and UniPC: the run's alphas, sigmas and lambdas, and its history.

    Attributes:
        sigmas: sigma / alpha at each step and at the end of the run, float32 on the CPU.
    """

    config: LogSNRConfig
    sigmas: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        if self.config.rescale_betas_zero_snr:
            self.alphas_cumprod[-1] = noise.TERMINAL_ALPHA_BAR
        self._train_sigmas = noise.sigmas(self.alphas_cumprod).numpy()
        self._outputs: list[Tensor] = []
        self._places: list[float] = []
        self._keep_sigmas(self._train_sigmas[::-1], 0.0)

    @override
    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """`original_samples` `[batch, ...]` as they stand at the run's `timesteps` `[batch]`.

        Where the run has begun, or its beginning was set, that is the place; else the timesteps
        are looked for, which waits for their device.
        """
        places = self._indices(timesteps)
        alpha = per_sample([self._alphas[index] for index in places], original_samples)
        sigma = per_sample([self._stds[index] for index in places], original_samples)
        return alpha * original_samples + sigma * noise

    def _original(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """The original that `model_output` foresees, thresholded as the configuration says."""
        a, b = noise.original_weights(
            self.config.prediction_type, self._alphas[index], self._stds[index]
        )
        return self._threshold(noise.combine((a, sample), (b, model_output)))

    def _noise(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """The noise in `sample` that `model_output` foresees."""
        a, b = noise.noise_weights(
            self.config.prediction_type, self._alphas[index], self._stds[index]
        )
        return noise.combine((a, sample), (b, model_output))

    def _threshold(self, original: Tensor) -> Tensor:
        config = self.config
        if not config.thresholding:
            return original
        return noise.threshold(original, config.dynamic_thresholding_ratio, config.sample_max_value)

    def _remember(self, output: Tensor, index: int) -> None:
        """Keep `output` as the newest of the last `solver_order` ones, and where it was made.

        It takes the place of one that was made at the same lambda.
        """
        place, most = self._lambdas[index], self.config.solver_order
        known = 1 if self._places[:1] == [place] else 0
        self._outputs = [output, *self._outputs[known:]][:most]
        self._places = [place, *self._places[known:]][:most]

    @property
    @override
    def _visits_between(self) -> bool:
        return self.config.sigma_spacing is not None

    def _spaced(self, count: int, bound: int) -> Array:
        """`count` timesteps below `bound`, of `count + 1` whose last, the end, is no evaluation."""
        config = self.config
        if config.timestep_spacing == "trailing":
            return spacing.trailing(count, len(self), bound)
        if config.timestep_spacing == "leading" and count + 1 > bound:
            return self._all_below(bound, count)
        offset = config.steps_offset
        spaced = spacing.spaced(config.timestep_spacing, count + 1, bound, offset)
        timesteps: Array = spaced[:-1].round()
        return timesteps

    def _all_below(self, bound: int, count: int) -> Array:
        """Every timestep below `bound`, where so many are asked for that no stride is left."""
        if count > bound and not self._visits_between:
            raise ValueError(
                f"num_inference_steps is {count}, but lambda_min_clipped leaves {bound} timesteps; "
                "take no more steps than these."
            )
        return np.arange(bound, dtype=float)[::-1]

    def _respaced(self, kind: spacing.SigmaSpacing, count: int) -> tuple[Array, ...]:
        """Sigmas over the whole training schedule, and their fractional timesteps."""
        low, high = self.config.get("sigma_min"), self.config.get("sigma_max")
        levels = spacing.respaced(
            kind,
            count,
            float(self._train_sigmas[0]) if low is None else low,
            float(self._train_sigmas[-1]) if high is None else high,
        )
        return levels, spacing.timesteps_of(levels, np.log(self._train_sigmas))

    def _levels(self, timesteps: Array) -> Array:
        levels: Array = np.interp(timesteps, np.arange(len(self)), self._train_sigmas)
        return levels

    def _keep_sigmas(self, levels: Array, final: float) -> None:
        table = np.append(levels, final).astype(np.float32)
        self.sigmas = torch.from_numpy(table)
        sigmas = table.tolist()
        self._alphas = [1 / math.hypot(sigma, 1) for sigma in sigmas]
        self._stds = [sigma * alpha for sigma, alpha in zip(sigmas, self._alphas, strict=True)]
        self._lambdas = [-math.log(sigma) if sigma else math.inf for sigma in sigmas]
        self._outputs, self._places = [], []
