"""The base of solvers in lambda, half the logarithm of the signal-to-noise ratio.

In `lambda = log(alpha / sigma)` the linear part of the diffusion ODE is solved exactly, and only
the model's output is approximated: Lu et al. (2022), DPM-Solver, arXiv:2206.00927, section 3.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import Positive, SchedulerConfig, Share, check_choice
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.scheduler import Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import broadcast_per_sample


@dataclass(frozen=True, kw_only=True, eq=False)
class LogSNRConfig(SchedulerConfig):
    """The settings that DPM-Solver and UniPC share; those for flow matching are not supported.

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
    """Base of DPM-Solver and UniPC: the run's alphas, sigmas and lambdas, and its last outputs.

    Attributes:
        sigmas: sigma / alpha at each step and at the end of the run, float32 on the CPU.
    """

    config: LogSNRConfig
    sigmas: Tensor

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        if self.config.rescale_betas_zero_snr:
            self.alphas_cumprod[-1] = noise.TERMINAL_ALPHA_BAR
        self._train_sigmas = noise.alphas_to_sigmas(self.alphas_cumprod).numpy()
        self._outputs: list[Tensor] = []
        self._output_lambdas: list[float] = []
        self._set_sigmas(self._train_sigmas[::-1], 0.0)

    @override
    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """`original_samples` `[batch, ...]` with the noise of the run's `timesteps` `[batch]`.

        Once the run has begun, or `begin_index` is set, the noise is that of the current entry;
        else the timesteps are looked up, which waits for their device.
        """
        places = self._indices_of(timesteps)
        alpha = broadcast_per_sample([self._alphas[index] for index in places], original_samples)
        sigma = broadcast_per_sample([self._stds[index] for index in places], original_samples)
        return alpha * original_samples + sigma * noise

    def convert_model_output(
        self, model_output: Tensor, timestep: Timestep | None = None, sample: Tensor | None = None
    ) -> Tensor:
        """What the method extrapolates, the predicted original sample or the noise.

        Args:
            model_output: what the model predicts for `sample`, of its shape `[batch, ...]`.
            timestep: not read: it is that of the current step.
            sample: the noisy sample.

        Raises:
            ValueError: no run has begun, or there is no sample.
        """
        index = self._begin_index if self._step_index is None else self._step_index
        if index is None or sample is None:
            raise ValueError(
                "convert_model_output needs a sample, and a run that has begun; pass sample=, and "
                "call set_begin_index first."
            )
        return self._convert_output(model_output, sample, index)

    @abstractmethod
    def _convert_output(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """The predicted original sample or noise, whichever the method extrapolates."""

    def _predict_original(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """The predicted original sample, thresholded as the configuration says."""
        a, b = noise.original_weights(
            self.config.prediction_type, self._alphas[index], self._stds[index]
        )
        return self._threshold(noise.weighted_sum((a, sample), (b, model_output)))

    def _predict_noise(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """The predicted noise in `sample`."""
        a, b = noise.noise_weights(
            self.config.prediction_type, self._alphas[index], self._stds[index]
        )
        return noise.weighted_sum((a, sample), (b, model_output))

    def _threshold(self, original: Tensor) -> Tensor:
        config = self.config
        if not config.thresholding:
            return original
        return noise.threshold(original, config.dynamic_thresholding_ratio, config.sample_max_value)

    def _record_output(self, output: Tensor, index: int) -> None:
        """Put `output` and its lambda in front of the last `solver_order` ones.

        It replaces one of the same lambda.
        """
        place, most = self._lambdas[index], self.config.solver_order
        known = 1 if self._output_lambdas[:1] == [place] else 0
        self._outputs = [output, *self._outputs[known:]][:most]
        self._output_lambdas = [place, *self._output_lambdas[known:]][:most]

    @property
    @override
    def _visits_fractional_timesteps(self) -> bool:
        return self.config.sigma_spacing is not None

    def _space_timesteps(self, count: int, bound: int) -> Array:
        """`count` timesteps below `bound`: of `count + 1`, the last of which only ends the run."""
        config = self.config
        if config.timestep_spacing == "trailing":
            return spacing.space_trailing(count, len(self), bound)
        if config.timestep_spacing == "leading" and count + 1 > bound:
            return self._all_below(bound, count)
        offset = config.steps_offset
        timesteps = spacing.space_timesteps(config.timestep_spacing, count + 1, bound, offset)
        rounded: Array = timesteps[:-1].round()
        return rounded

    def _all_below(self, bound: int, count: int) -> Array:
        """Every timestep below `bound`, where as many steps are asked for, or more."""
        if count > bound and not self._visits_fractional_timesteps:
            raise ValueError(
                f"num_inference_steps is {count}, but lambda_min_clipped leaves {bound} timesteps; "
                "take no more steps than these."
            )
        return np.arange(bound, dtype=float)[::-1]

    def _space_sigmas(self, kind: spacing.SigmaSpacing, count: int) -> tuple[Array, ...]:
        """Sigmas over the whole training schedule, and their fractional timesteps."""
        low, high = self.config.get("sigma_min"), self.config.get("sigma_max")
        levels = spacing.space_sigmas(
            kind,
            count,
            float(self._train_sigmas[0]) if low is None else low,
            float(self._train_sigmas[-1]) if high is None else high,
        )
        return levels, spacing.sigmas_to_timesteps(levels, np.log(self._train_sigmas))

    def _sigmas_at(self, timesteps: Array) -> Array:
        levels: Array = np.interp(timesteps, np.arange(len(self)), self._train_sigmas)
        return levels

    def _set_sigmas(self, levels: Array, final: float) -> None:
        table = np.append(levels, final).astype(np.float32)
        self.sigmas = torch.from_numpy(table)
        sigmas = table.tolist()
        self._alphas = [1 / math.hypot(sigma, 1) for sigma in sigmas]
        self._stds = [sigma * alpha for sigma, alpha in zip(sigmas, self._alphas, strict=True)]
        self._lambdas = [-math.log(sigma) if sigma else math.inf for sigma in sigmas]
        self._outputs, self._output_lambdas = [], []
