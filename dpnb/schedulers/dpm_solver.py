"""DPM-Solver and DPM-Solver++, multistep: Lu et al. (2022), arXiv:2206.00927, arXiv:2211.01095."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import SchedulerConfig, check_choice
from dpnb.schedulers.log_snr import LogSNRConfig, LogSNRScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array
from dpnb.validation import Range

ALGORITHMS = ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++")

FEW_STEPS = 15
"""In runs of fewer steps, `lower_order_final` lowers the order of the last ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DPMSolverMultistepConfig(LogSNRConfig):
    """Settings of `DPMSolverMultistepScheduler`.

    The `++` algorithms approximate the predicted original, the others the predicted noise; the
    `sde-` ones add noise. `solver_type` is the form of second-order steps. `lambda_min_clipped`
    leaves out the noisiest timesteps. A `variance_type` says that the model predicts variances
    too, which are dropped. Names of other solvers' algorithms count as the defaults.
    """

    algorithm_type: str = "dpmsolver++"
    solver_type: str = "midpoint"
    euler_at_final: bool = False
    use_lu_lambdas: bool = False
    lambda_min_clipped: Annotated[float, Range(-math.inf, 100.0)] = -math.inf
    variance_type: Literal["learned", "learned_range"] | None = None

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        if self.solver_type in ("logrho", "bh1", "bh2"):
            object.__setattr__(self, "solver_type", "midpoint")
        if self.algorithm_type == "deis":
            object.__setattr__(self, "algorithm_type", "dpmsolver++")
        check_choice("solver_type", self.solver_type, ("midpoint", "heun"))
        check_choice("algorithm_type", self.algorithm_type, ALGORITHMS)
        if not 1 <= self.solver_order <= self.highest_order:
            raise ValueError(
                f"solver_order is {self.solver_order}; {self.algorithm_type} has orders 1 to "
                f"{self.highest_order}. Choose one of them."
            )
        if self.final_sigmas_type == "zero" and not self.predicts_original:
            raise ValueError(
                f"algorithm_type {self.algorithm_type!r} cannot end at sigma 0, where the noise is "
                'not defined; set final_sigmas_type="sigma_min".'
            )

    @property
    def predicts_original(self) -> bool:
        """Whether the predicted original is what is extrapolated, not the noise."""
        return self.algorithm_type.endswith("++")

    @property
    def is_stochastic(self) -> bool:
        """Whether steps add noise."""
        return self.algorithm_type.startswith("sde")

    @property
    def highest_order(self) -> int:
        """The highest order that the algorithm is known at."""
        return 2 if self.algorithm_type == "sde-dpmsolver" else 3


class _Weights(NamedTuple):
    """A step's weights of the sample, of the output's value, slope and curvature, and of noise."""

    sample: float
    value: float
    slope: float
    curvature: float
    noise: float


class DPMSolverMultistepScheduler(LogSNRScheduler):
    """DPM-Solver of order 1 to 3, from the outputs of the last steps."""

    config_class: ClassVar[type[SchedulerConfig]] = DPMSolverMultistepConfig
    accepts: ClassVar[frozenset[str]] = frozenset({"timesteps"})
    config: DPMSolverMultistepConfig

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._bound = _count_timesteps_above(self.alphas_cumprod, self.config.lambda_min_clipped)

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One step of arXiv:2211.01095, algorithm 2, in float32; see `Scheduler.step`.

        `variance_noise` is the noise to add, of the sample's shape, in place of a generator. The
        output's second entry is there for the `++` algorithms.
        """
        index = self._current_index(timestep)
        output = self._convert_output(model_output, sample, index)
        self._record_output(output, index)
        sample = noise.at_least_float32(sample)
        weights = self._weights(index)
        terms = [(weights.sample, sample), *self._extrapolation(index, weights)]
        if self.config.is_stochastic:
            fresh = noise.randn_like(output, generator, variance_noise, dtype=torch.float32)
            terms.append((weights.noise, fresh))
        prev_sample = noise.weighted_sum(*terms).to(output.dtype)
        self._step_index = index + 1
        original = output if return_dict and self.config.predicts_original else None
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    @override
    def _convert_output(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """The predicted original sample or noise, whichever the algorithm extrapolates."""
        if self.config.variance_type is not None:
            model_output = model_output[:, : sample.shape[1]]
        if self.config.predicts_original:
            return self._predict_original(model_output, sample, index)
        if not self.config.thresholding:
            return self._predict_noise(model_output, sample, index)
        original = self._predict_original(model_output, sample, index)
        alpha, sigma = self._alphas[index], self._stds[index]
        return noise.weighted_sum((1 / sigma, sample), (-alpha / sigma, original))

    def _weights(self, index: int) -> _Weights:
        """The exponential integrators' weights from `index` to the next entry.

        Lu et al. (2022): arXiv:2206.00927, eq. 3.7 and appendix B, for the noise; arXiv:2211.01095,
        algorithm 2 and its appendices, for the original. An SDE has twice h, or
        twice sigma, in the output's weights, and adds noise. The third order of
        `"sde-dpmsolver++"` is diffusers' own.
        """
        h, config = self._step_in_lambda(index), self.config
        alpha, sigma = self._alphas[index + 1], self._stds[index + 1]
        pace = 2 if config.is_stochastic else 1
        if config.predicts_original:
            kept = sigma / self._stds[index]
            scale, phis, grown = alpha, _phis(-pace * h), -math.expm1(-2 * h)
        else:
            kept = alpha / self._alphas[index]
            scale, phis, grown = pace * sigma, _phis(h), math.expm1(2 * h)
        value, slope, curvature = phis
        if config.algorithm_type == "sde-dpmsolver++":
            kept, curvature = kept * math.exp(-h), curvature + 1
        added = sigma * math.sqrt(grown) if config.is_stochastic else 0.0
        return _Weights(kept, -scale * value, -scale * slope, -scale * curvature, added)

    def _extrapolation(self, index: int, weights: _Weights) -> list[tuple[float, Tensor]]:
        """The terms in the last outputs: their value, slope and curvature over lambda."""
        order = self._order(index)
        if order == 1:
            return [(weights.value, self._outputs[0])]
        h, h0 = self._step_in_lambda(index), self._output_lambdas[0] - self._output_lambdas[1]
        if order == 2:
            is_midpoint = self.config.solver_type == "midpoint"
            slope = (weights.value / 2 if is_midpoint else weights.slope) * h / h0
            return [(weights.value + slope, self._outputs[0]), (-slope, self._outputs[1])]

        r0, r1 = h0 / h, (self._output_lambdas[1] - self._output_lambdas[2]) / h
        newer = weights.slope + (weights.slope * r0 + weights.curvature) / (r0 + r1)
        older = -(weights.slope * r0 + weights.curvature) / (r0 + r1)
        return [
            (weights.value + newer / r0, self._outputs[0]),
            (older / r1 - newer / r0, self._outputs[1]),
            (-older / r1, self._outputs[2]),
        ]

    def _order(self, index: int) -> int:
        """The order of this step: lower at the start, and near the end where that is safer."""
        config = self.config
        left = len(self._schedule) - index
        is_short = config.lower_order_final and len(self._schedule) < FEW_STEPS
        ends_flat = is_short or config.euler_at_final or config.final_sigmas_type == "zero"
        if (left == 1 and ends_flat) or self._step_in_lambda(index) == 0:
            return 1
        most = min(config.solver_order, len(self._outputs))
        return min(most, 2) if left == 2 and is_short else most

    @property
    @override
    def _visits_fractional_timesteps(self) -> bool:
        return self.config.use_lu_lambdas or super()._visits_fractional_timesteps

    def _step_in_lambda(self, index: int) -> float:
        return self._lambdas[index + 1] - self._lambdas[index]

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        config = self.config
        if timesteps is None:
            timesteps = self._space_timesteps(count, self._bound)
        elif config.use_lu_lambdas:
            raise ValueError(
                "DPMSolverMultistepScheduler cannot take timesteps with use_lu_lambdas, which "
                "chooses them; pass num_inference_steps, or switch it off."
            )
        timesteps = timesteps.astype(np.int64)
        kind = config.sigma_spacing
        if config.use_lu_lambdas and kind != "karras":
            levels = spacing.space_lu_sigmas(count, self._train_sigmas)
            timesteps = spacing.sigmas_to_timesteps(levels, np.log(self._train_sigmas))
        elif kind is not None:
            levels, timesteps = self._space_sigmas(kind, count)
        else:
            levels = self._sigmas_at(timesteps)
        is_fine = config.beta_schedule == "squaredcos_cap_v2"
        if (config.use_lu_lambdas or kind == "karras") and not is_fine:
            timesteps = timesteps.round()
        is_zero = config.final_sigmas_type == "zero"
        self._set_sigmas(levels, 0.0 if is_zero else float(self._train_sigmas[0]))
        return timesteps.astype(np.int64)


def _count_timesteps_above(alphas_cumprod: Tensor, lambda_min: float) -> int:
    """The number of training steps whose lambda is `lambda_min` or above."""
    lambdas = torch.log(alphas_cumprod.sqrt()) - torch.log((1 - alphas_cumprod).sqrt())
    return len(lambdas) - int(torch.searchsorted(lambdas.flip(0), lambda_min))


def _phis(h: float) -> tuple[float, float, float]:
    """`e^h - 1`, and its remainders after the first and second term, divided by powers of `h`.

    The functions phi of arXiv:2206.00927, appendix B, but for factors that the weights absorb.
    """
    first = math.expm1(h)
    if h == 0 or math.isinf(h):
        return first, math.nan, math.nan
    return first, first / h - 1, (first - h) / h**2 - 0.5
