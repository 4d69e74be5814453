"""DPM-Solver++, multistep, for EDM's models: Lu et al. (2022), arXiv:2211.01095.

A sample of EDM is `original + sigma · noise`: alpha is 1, and lambda is `-log sigma`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import BaseSchedulerConfig, Positive, Share, check_choice
from dpnb.schedulers.dpm_solver import FEW_STEPS
from dpnb.schedulers.dpm_weights import Place, extrapolate, weigh
from dpnb.schedulers.edm import EDMConfig, EDMScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class EDMDPMSolverMultistepConfig(EDMConfig):
    """Settings of `EDMDPMSolverMultistepScheduler`; see `DPMSolverMultistepConfig`."""

    solver_order: int = 2
    thresholding: bool = False
    dynamic_thresholding_ratio: Share = 0.995
    sample_max_value: Positive = 1.0
    algorithm_type: str = "dpmsolver++"
    solver_type: str = "midpoint"
    lower_order_final: bool = True
    euler_at_final: bool = False

    @override
    def __post_init__(self) -> None:
        if self.solver_type in ("logrho", "bh1", "bh2"):
            object.__setattr__(self, "solver_type", "midpoint")
        if self.algorithm_type == "deis":
            object.__setattr__(self, "algorithm_type", "dpmsolver++")
        super().__post_init__()
        check_choice("solver_type", self.solver_type, ("midpoint", "heun"))
        check_choice("algorithm_type", self.algorithm_type, ("dpmsolver++", "sde-dpmsolver++"))
        if not 1 <= self.solver_order <= self.highest_order:
            raise ValueError(
                f"solver_order is {self.solver_order}; {self.algorithm_type} has orders 1 to "
                f"{self.highest_order}. Choose one of them."
            )

    @property
    def is_stochastic(self) -> bool:
        """Whether steps add noise."""
        return self.algorithm_type.startswith("sde")

    @property
    def highest_order(self) -> int:
        """The highest order that the algorithm is known at."""
        return 2 if self.is_stochastic else 3


class EDMDPMSolverMultistepScheduler(EDMScheduler):
    """DPM-Solver++ of order 1 to 3, from the predicted originals of the last steps."""

    config_class: ClassVar[type[BaseSchedulerConfig]] = EDMDPMSolverMultistepConfig
    config: EDMDPMSolverMultistepConfig
    _originals: list[Tensor]

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One step of arXiv:2211.01095, algorithm 2; see `Scheduler.step`."""
        index, config = self._current_index(timestep), self.config
        original = self._predict_original(model_output, sample, self._sigmas[index])
        self._originals = [original, *self._originals][: config.solver_order]
        start, end = self._places[index], self._places[index + 1]
        weights, h = weigh(config.algorithm_type, start, end), end.lambda_ - start.lambda_
        visited = [self._places[index - back].lambda_ for back in range(self._order(index))]
        known = self._originals[: len(visited)]
        terms = extrapolate(weights, h, known, visited, config.solver_type)
        if config.is_stochastic:
            terms.append((weights.noise, noise.randn_like(original, generator)))
        prev_sample = noise.weighted_sum((weights.sample, sample), *terms)
        self._step_index = index + 1
        return SchedulerOutput(prev_sample, original if return_dict else None).as_asked(return_dict)

    @override
    def _predict_original(self, model_output: Tensor, sample: Tensor, sigma: float) -> Tensor:
        """The predicted original sample, thresholded as the configuration says."""
        original, config = super()._predict_original(model_output, sample, sigma), self.config
        if not config.thresholding:
            return original
        return noise.threshold(original, config.dynamic_thresholding_ratio, config.sample_max_value)

    def _order(self, index: int) -> int:
        """The order of this step: lower at the start, and near the end where that is safer."""
        config, left = self.config, len(self._schedule) - index
        is_short = config.lower_order_final and len(self._schedule) < FEW_STEPS
        ends_flat = is_short or config.euler_at_final or config.final_sigmas_type == "zero"
        if (left == 1 and ends_flat) or self._places[index] == self._places[index + 1]:
            return 1
        most = len(self._originals)
        return min(most, 2) if left == 2 and is_short else most

    @override
    def _set_sigmas(self, levels: Array) -> None:
        super()._set_sigmas(levels)
        self._originals = []
        self._places = [
            Place(1.0, sigma, -math.log(sigma) if sigma else math.inf) for sigma in self._sigmas
        ]
