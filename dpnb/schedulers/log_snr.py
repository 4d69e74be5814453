"""The base of solvers in lambda, half the logarithm of the signal-to-noise ratio.

In `lambda = log(alpha / sigma)` the linear part of the diffusion ODE is solved exactly, and only
the model's output is approximated: Lu et al. (2022), DPM-Solver, arXiv:2206.00927, section 3.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.devices import Device
from dpnb.numbers import parse_number
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.derived import derived_from
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.dpm_weights import Place
from dpnb.schedulers.log_snr_config import LogSNRConfig
from dpnb.schedulers.mixtures import Mixtures, mix
from dpnb.schedulers.scheduler import Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import broadcast_per_sample

NOISIEST = 1 - 1e-6
"""The highest noise level of a flow: at 1 lambda is infinite."""


class LogSNRScheduler(DiffusionScheduler):
    """Base of DPM-Solver, UniPC and their like: alphas, sigmas and lambdas, and the last outputs.

    Attributes:
        sigmas: sigma / alpha at each step and at the end of the run, float32 on the CPU; of a
            flow-matching model sigma itself.
    """

    config: LogSNRConfig
    sigmas: Tensor

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        if self.config.own("rescale_betas_zero_snr", False):
            self.alphas_cumprod[-1] = noise.TERMINAL_ALPHA_BAR
        lambda_min = self.config.own("lambda_min_clipped", -math.inf)
        self._bound = _count_timesteps_above(self.alphas_cumprod, lambda_min)
        self._shift = self.config.flow_shift
        self._outputs: list[Tensor] = []
        self._output_lambdas: list[float] = []
        if self.config.use_flow_sigmas:
            self._set_sigmas(self._flow_sigmas(len(self))[0], 0.0)
        else:
            self._set_sigmas(self._train_sigmas[::-1], 0.0)

    @override
    def set_timesteps(  # type: ignore[override]
        self,
        num_inference_steps: int | None = None,
        device: Device | None = None,
        mu: float | None = None,
        timesteps: Sequence[float] | None = None,
        sigmas: Sequence[float] | None = None,
    ) -> None:
        """As `DiffusionScheduler.set_timesteps`.

        Args:
            num_inference_steps: as there.
            device: as there.
            mu: the logarithm of the shift of this run, where `use_dynamic_shifting` is on.
            timesteps: as there.
            sigmas: as there.

        Raises:
            ValueError: as there, or `mu` is given where each run has the same shift.
            TypeError: as there.
        """
        self._shift = self._shift_of(mu)
        super().set_timesteps(num_inference_steps, device, timesteps, sigmas)

    @property
    def alpha_t(self) -> Tensor:
        """The share of the original after each training step, `[T]`."""
        return self.alphas_cumprod.sqrt()

    @property
    def sigma_t(self) -> Tensor:
        """That of the noise."""
        return (1 - self.alphas_cumprod).sqrt()

    @property
    def lambda_t(self) -> Tensor:
        """The logarithm of their ratio."""
        return self.alpha_t.log() - self.sigma_t.log()

    def _shift_of(self, mu: float | None) -> float:
        if mu is None:
            return self.config.flow_shift
        if not self.config.own("use_dynamic_shifting", False):
            raise ValueError(
                f"mu is {mu}, but each run has the shift that flow_shift says; leave it out, or "
                "set use_dynamic_shifting=True."
            )
        return math.exp(parse_number("mu", mu, -20, 20))

    @override
    def predict_original_and_noise(
        self, model_output: Tensor, sample: Tensor, timestep: Timestep
    ) -> tuple[Tensor, Tensor]:
        """As `DiffusionScheduler.predict_original_and_noise`; of a flow by the run's levels."""
        if not self.config.use_flow_sigmas:
            return super().predict_original_and_noise(model_output, sample, timestep)
        index, kind = self.index_for_timestep(timestep), self.config.prediction_type
        a, b = noise.original_weights(kind, self._alphas[index], self._stds[index])
        c, d = noise.noise_weights(kind, self._alphas[index], self._stds[index])
        original = noise.weighted_sum((a, sample), (b, model_output))
        return original, noise.weighted_sum((c, sample), (d, model_output))

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        own = model_output[:, : sample.shape[1]]  # without a learned variance
        return self._predict_original(own, sample, self._find_index(timestep))

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

    def _predict_thresholded_noise(
        self, model_output: Tensor, sample: Tensor, index: int
    ) -> Tensor:
        """The predicted noise; with thresholding, that to the thresholded original."""
        if not self.config.thresholding:
            return self._predict_noise(model_output, sample, index)
        original = self._predict_original(model_output, sample, index)
        alpha, sigma = self._alphas[index], self._stds[index]
        return noise.weighted_sum((1 / sigma, sample), (-alpha / sigma, original))

    def _threshold(self, original: Tensor) -> Tensor:
        config = self.config
        if not config.thresholding:
            return original
        return noise.threshold(original, config.dynamic_thresholding_ratio, config.sample_max_value)

    def _record_output(self, output: Tensor, index: int) -> None:
        """Put `output` and its lambda in front of the last ones; it replaces one of that lambda."""
        place, most = self._lambdas[index], self._memory
        known = 1 if self._output_lambdas[:1] == [place] else 0
        self._outputs = [output, *self._outputs[known:]][:most]
        self._output_lambdas = [place, *self._output_lambdas[known:]][:most]

    @property
    def _memory(self) -> int:
        """How many of the last outputs are kept."""
        order: int = self.config.own("solver_order", 1)
        return order

    def _place(self, index: int) -> Place:
        return Place(self._alphas[index], self._stds[index], self._lambdas[index])

    def _step_in_lambda(self, index: int) -> float:
        return self._lambdas[index + 1] - self._lambdas[index]

    @property
    @override
    def _visits_fractional_timesteps(self) -> bool:
        return self.config.sigma_spacing is not None or self.config.use_flow_sigmas

    def _space_timesteps(self, count: int, bound: int) -> Array:
        """`count` timesteps below `bound`: of `count + 1`, the last of which only ends the run."""
        kind = self.config.own("timestep_spacing", "linspace")
        if kind == "trailing":
            return spacing.space_trailing(count, len(self), bound)
        if kind == "leading" and count + 1 > bound:
            return self._all_below(bound, count)
        offset = self.config.own("steps_offset", 0)
        timesteps = spacing.space_timesteps(kind, count + 1, bound, offset)
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

    def _smallest_or_last(self) -> float | None:
        """The sigma at the end of a run that ends above 0; see `_lay_out`."""
        is_spaced = self.config.sigma_spacing is not None or self.config.use_flow_sigmas
        return None if is_spaced else float(self._train_sigmas[0])

    def _sigmas_at(self, timesteps: Array) -> Array:
        levels: Array = np.interp(timesteps, np.arange(len(self)), self._train_sigmas)
        return levels

    def _flow_sigmas(self, count: int) -> tuple[Array, ...]:
        """Noise levels of a flow and their timesteps: Esser et al. (2024), arXiv:2403.03206.

        They are even before they are shifted by section 5.3.2's eq. 23, and all that remains is the
        last training step's.
        """
        even = 1 - np.linspace(1, 1 / len(self), count + 1)[:0:-1]
        levels = spacing.shift_sigmas(even, self._shift)
        return levels, levels * len(self)

    def _lay_out(self, count: int, timesteps: Array, final: float | None) -> Array:
        """Set the sigmas of a run, spaced as the configuration says; its timesteps.

        Args:
            count: of steps.
            timesteps: those to visit where sigmas have no spacing of their own.
            final: the sigma at the end of the run; `None` for the last one, which is kept.
        """
        kind = self.config.sigma_spacing
        if kind is not None:
            levels, timesteps = self._space_sigmas(kind, count)
            timesteps = timesteps.round() if kind == "karras" else timesteps
        elif self.config.use_flow_sigmas:
            levels, timesteps = self._flow_sigmas(count)
        else:
            levels = self._sigmas_at(timesteps)
        self._set_sigmas(levels, float(levels[-1]) if final is None else final)
        return timesteps.astype(np.int64)

    def _set_sigmas(self, levels: Array, final: float) -> None:
        if self.config.use_flow_sigmas:
            levels = np.minimum(levels, NOISIEST)
        table = np.append(levels, final).astype(np.float32)
        self.sigmas = torch.from_numpy(table)
        self._mixtures = mix(table.tolist(), is_flow=self.config.use_flow_sigmas)
        self._outputs, self._output_lambdas = [], []

    @derived_from("sigmas")
    def _mixtures(self, sigmas: Tensor) -> Mixtures:
        return mix(sigmas.tolist(), is_flow=self.config.use_flow_sigmas)

    @property
    def _alphas(self) -> list[float]:
        return self._mixtures.alphas

    @property
    def _stds(self) -> list[float]:
        return self._mixtures.stds

    @property
    def _lambdas(self) -> list[float]:
        return self._mixtures.lambdas


def _count_timesteps_above(alphas_cumprod: Tensor, lambda_min: float) -> int:
    """The number of training steps whose lambda is `lambda_min` or above."""
    lambdas = torch.log(alphas_cumprod.sqrt()) - torch.log((1 - alphas_cumprod).sqrt())
    return len(lambdas) - int(torch.searchsorted(lambdas.flip(0), lambda_min))
