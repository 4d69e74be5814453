"""DEIS, the diffusion exponential integrator sampler: Zhang & Chen (2022), arXiv:2204.13902."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import BetaConfig, SchedulerConfig, check_choice
from dpnb.schedulers.dpm_solver import FEW_STEPS
from dpnb.schedulers.log_snr import LogSNRScheduler
from dpnb.schedulers.log_snr_config import ShiftedConfig
from dpnb.schedulers.quadrature import integrate_polynomials
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class DEISMultistepConfig(ShiftedConfig, SchedulerConfig):
    """Settings of `DEISMultistepScheduler`; names of other solvers count as its own."""

    solver_order: int = 2
    algorithm_type: str = "deis"
    solver_type: str = "logrho"

    @override
    def __post_init__(self) -> None:
        if self.algorithm_type in ("dpmsolver", "dpmsolver++"):
            object.__setattr__(self, "algorithm_type", "deis")
        if self.solver_type in ("midpoint", "heun", "bh1", "bh2"):
            object.__setattr__(self, "solver_type", "logrho")
        super().__post_init__()
        check_choice("algorithm_type", self.algorithm_type, ("deis",))
        check_choice("solver_type", self.solver_type, ("logrho",))
        if not 1 <= self.solver_order <= 3:
            raise ValueError(f"solver_order is {self.solver_order}; choose 1, 2 or 3.")


class DEISMultistepScheduler(LogSNRScheduler):
    """DEIS of order 1 to 3: Adams-Bashforth steps over rho, sigma / alpha.

    The predicted noise is a polynomial in log rho through the outputs of the last steps.
    """

    config_class: ClassVar[type[BetaConfig]] = DEISMultistepConfig
    config: DEISMultistepConfig

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
        """One step of arXiv:2204.13902, eq. 15, in rho; see `Scheduler.step`.

        There is no predicted original.
        """
        index = self._current_index(timestep)
        self._record_output(self._convert_output(model_output, sample, index), index)
        prev_sample = noise.weighted_sum(*self._terms(index, sample))
        self._step_index = index + 1
        return SchedulerOutput(prev_sample).as_asked(return_dict)

    @override
    def _convert_output(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        return self._predict_thresholded_noise(model_output, sample, index)

    def _terms(self, index: int, sample: Tensor) -> list[tuple[float, Tensor]]:
        """`x / alpha` plus the integral of the noise over rho, both by the next alpha.

        In lambda, `-log rho`, the differential of rho is `-exp(-lambda)`.
        """
        order, end = self._order(index), self._place(index + 1)
        weights = integrate_polynomials(
            self._output_lambdas[:order], self._lambdas[index], end.lambda_, -1.0
        )
        outputs = zip(weights, self._outputs, strict=False)
        terms = [(-end.sigma * weight, output) for weight, output in outputs]
        return [(end.alpha / self._alphas[index], sample), *terms]

    def _order(self, index: int) -> int:
        """The order of this step: lower at the start, and at the end of short runs."""
        config, left = self.config, len(self._schedule) - index
        is_short = config.lower_order_final and len(self._schedule) < FEW_STEPS
        order = min(config.solver_order, len(self._outputs))
        return min(order, left) if is_short else order

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        planned = self._space_timesteps(count, len(self)).astype(np.int64)
        return self._lay_out(count, planned, self._smallest_or_last())
