"""DPM-Solver and DPM-Solver++, multistep: Lu et al. (2022), arXiv:2206.00927, arXiv:2211.01095."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise, spacing
from dpnb.schedulers.config import BetaConfig, SchedulerConfig, check_choice
from dpnb.schedulers.dpm_weights import ALGORITHMS, extrapolate, weigh
from dpnb.schedulers.log_snr import LogSNRScheduler
from dpnb.schedulers.log_snr_config import FinalSigmaConfig, LambdaMin, LogSNRConfig, ShiftedConfig
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array

FEW_STEPS = 15
"""In runs of fewer steps, `lower_order_final` lowers the order of the last ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DPMSolverConfig(LogSNRConfig):
    """The settings that the forms of DPM-Solver share.

    The `++` algorithms approximate the predicted original, the others the predicted noise; the
    `sde-` ones add noise. `solver_type` is the form of second-order steps. `lambda_min_clipped`
    leaves out the noisiest timesteps. A `variance_type` says that the model predicts variances
    too, which are dropped. Names of other solvers' algorithms count as the defaults.

    Raises:
        ValueError: a setting is not one of the values that this scheduler knows.
    """

    algorithms: ClassVar[tuple[str, ...]] = ALGORITHMS

    solver_order: int = 2
    algorithm_type: str = "dpmsolver++"
    solver_type: str = "midpoint"
    lambda_min_clipped: LambdaMin = -math.inf
    variance_type: Literal["learned", "learned_range"] | None = None

    @override
    def __post_init__(self) -> None:
        if self.solver_type in ("logrho", "bh1", "bh2"):
            object.__setattr__(self, "solver_type", "midpoint")
        if self.algorithm_type == "deis":
            object.__setattr__(self, "algorithm_type", "dpmsolver++")
        super().__post_init__()
        check_choice("solver_type", self.solver_type, ("midpoint", "heun"))
        check_choice("algorithm_type", self.algorithm_type, self.algorithms)
        if not 1 <= self.solver_order <= self.highest_order:
            raise ValueError(
                f"solver_order is {self.solver_order}; {self.algorithm_type} has orders 1 to "
                f"{self.highest_order}. Choose one of them."
            )
        if self.ends_at_zero and not self.predicts_original:
            raise ValueError(
                f"algorithm_type {self.algorithm_type!r} cannot end at sigma 0, where the noise is "
                'not defined; set final_sigmas_type="sigma_min".'
            )

    @property
    def ends_at_zero(self) -> bool:
        """Whether a run ends without noise."""
        is_zero: bool = self.own("final_sigmas_type", None) == "zero"
        return is_zero

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


class DPMSolverScheduler(LogSNRScheduler):
    """Base of the forms of DPM-Solver: what a model's output means, and where a run may begin."""

    config_class: ClassVar[type[BetaConfig]] = DPMSolverConfig
    config: DPMSolverConfig

    @override
    def _convert_output(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        """The predicted original sample or noise, whichever the algorithm extrapolates."""
        if self.config.variance_type is not None:
            model_output = model_output[:, : sample.shape[1]]
        if self.config.predicts_original:
            return self._predict_original(model_output, sample, index)
        return self._predict_thresholded_noise(model_output, sample, index)

    def _final_sigma(self) -> float:
        return 0.0 if self.config.ends_at_zero else float(self._train_sigmas[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class DPMMultistepConfig(DPMSolverConfig):
    """The settings of multistep methods; with `euler_at_final` the last step is of first order."""

    euler_at_final: bool = False


class DPMMultistepScheduler(DPMSolverScheduler):
    """Base of multistep methods: each step reads the outputs of the last ones."""

    config_class: ClassVar[type[BetaConfig]] = DPMMultistepConfig
    config: DPMMultistepConfig

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
        algorithm, order = self.config.algorithm_type, self._order(index)
        weights = weigh(algorithm, self._place(index), self._place(index + 1))
        terms = [
            (weights.sample, sample),
            *extrapolate(
                weights,
                self._step_in_lambda(index),
                self._outputs[:order],
                self._output_lambdas[:order],
                self.config.solver_type,
            ),
        ]
        if self.config.is_stochastic:
            fresh = noise.randn_like(output, generator, variance_noise, dtype=torch.float32)
            terms.append((weights.noise, fresh))
        prev_sample = noise.weighted_sum(*terms).to(output.dtype)
        self._step_index = index + 1
        original = output if return_dict and self.config.predicts_original else None
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    def _order(self, index: int) -> int:
        """The order of this step: lower at the start, and near the end where that is safer."""
        config = self.config
        left = len(self._schedule) - index
        is_short = config.lower_order_final and len(self._schedule) < FEW_STEPS
        ends_flat = is_short or config.euler_at_final or config.ends_at_zero
        if (left == 1 and ends_flat) or self._step_in_lambda(index) == 0:
            return 1
        most = min(config.solver_order, len(self._outputs))
        return min(most, 2) if left == 2 and is_short else most


@dataclass(frozen=True, kw_only=True, eq=False)
class DPMSolverMultistepConfig(
    DPMMultistepConfig, FinalSigmaConfig, ShiftedConfig, SchedulerConfig
):
    """Settings of `DPMSolverMultistepScheduler`; `use_lu_lambdas` spaces lambdas evenly."""

    use_lu_lambdas: bool = False
    rescale_betas_zero_snr: bool = False


class DPMSolverMultistepScheduler(DPMMultistepScheduler):
    """DPM-Solver of order 1 to 3, from the outputs of the last steps."""

    config_class: ClassVar[type[BetaConfig]] = DPMSolverMultistepConfig
    accepts: ClassVar[frozenset[str]] = frozenset({"timesteps"})
    config: DPMSolverMultistepConfig

    @property
    @override
    def _visits_fractional_timesteps(self) -> bool:
        return self.config.use_lu_lambdas or super()._visits_fractional_timesteps

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
        elif config.use_flow_sigmas:
            levels, timesteps = self._flow_sigmas(count)
        else:
            levels = self._sigmas_at(timesteps)
        is_fine = config.beta_schedule == "squaredcos_cap_v2"
        if (config.use_lu_lambdas or kind == "karras") and not is_fine:
            timesteps = timesteps.round()
        self._set_sigmas(levels, self._final_sigma())
        return timesteps.astype(np.int64)
