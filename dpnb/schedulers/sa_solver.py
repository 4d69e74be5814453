"""SA-Solver, stochastic Adams steps: Xue et al. (2023), arXiv:2309.05019."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.catalog import INTERCHANGEABLE
from dpnb.schedulers.config import BetaConfig, SchedulerConfig, check_choice
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.log_snr import LogSNRScheduler
from dpnb.schedulers.log_snr_config import LambdaMin, LogSNRConfig
from dpnb.schedulers.quadrature import integrate_polynomials
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array

ALGORITHMS = ("data_prediction", "noise_prediction")


@dataclass(frozen=True, kw_only=True, eq=False)
class SASolverConfig(LogSNRConfig, SchedulerConfig):
    """Settings of `SASolverScheduler`.

    The orders count the outputs that a step reads, 1 to 4. `tau_func` gives, for a timestep, how
    much noise its step adds: 0 for an ODE, 1 for the usual SDE; without it 1 between 200 and 800.
    It cannot be saved.
    """

    predictor_order: int = 2
    corrector_order: int = 2
    tau_func: object = None
    algorithm_type: str = "data_prediction"
    lambda_min_clipped: LambdaMin = -math.inf
    variance_type: Literal["learned", "learned_range"] | None = None

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("algorithm_type", self.algorithm_type, ALGORITHMS)
        for name in ("predictor_order", "corrector_order"):
            if not 1 <= self[name] <= 4:
                raise ValueError(f"{name} is {self[name]}; choose between 1 and 4.")
        if self.tau_func is not None and not callable(self.tau_func):
            raise ValueError(
                f"tau_func is {self.tau_func!r}; it must be a function of a timestep, or None."
            )

    @property
    def predicts_original(self) -> bool:
        """Whether the predicted original is what is extrapolated, not the noise."""
        return self.algorithm_type == "data_prediction"


class SASolverScheduler(LogSNRScheduler):
    """Each model output first corrects its sample, with its noise, then predicts the next."""

    config_class: ClassVar[type[BetaConfig]] = SASolverConfig
    interchangeable: ClassVar[tuple[str, ...]] = (*INTERCHANGEABLE, "SASolverScheduler")
    config: SASolverConfig
    add_noise = DiffusionScheduler.add_noise
    _last: list[Tensor]
    """The last sample and the noise that its step added; empty at first."""

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._last = []
        given: Any = self.config.tau_func
        self._tau_of: Callable[[float], float] = _usual_tau if given is None else given

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """The corrector, arXiv:2309.05019, eq. 17, then the predictor, eq. 14.

        See `Scheduler.step`; the output's second entry is there for `"data_prediction"`.
        """
        index = self._current_index(timestep)
        output = self._convert_output(model_output, sample, index)
        if self._last and self._step_in_lambda(index - 1) != 0:
            sample = self._correct(output, index - 1)
        self._record_output(output, index)
        self._last = [sample, noise.randn_like(output, generator)]
        order = min(self.config.predictor_order, len(self._outputs))
        if self.config.lower_order_final:
            order = min(order, len(self._schedule) - index)
        prev_sample = self._advance(index, self._output_lambdas[:order], self._outputs)
        self._step_index = index + 1
        original = output if return_dict and self.config.predicts_original else None
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    def _correct(self, reached: Tensor, index: int) -> Tensor:
        """The sample after the step from `index`, once what the model says there is known."""
        order = min(self.config.corrector_order, len(self._outputs) + 1)
        if self.config.lower_order_final:
            order = min(order, len(self._schedule) - index + 1)
        lambdas = [self._lambdas[index + 1], *self._output_lambdas][:order]
        return self._advance(index, lambdas, [reached, *self._outputs])

    def _advance(self, index: int, lambdas: list[float], outputs: list[Tensor]) -> Tensor:
        """From `index` to the next entry, by the polynomial through `outputs` at `lambdas`."""
        sample, fresh = self._last
        tau, h = float(self._tau_of(self._schedule[index])), self._step_in_lambda(index)
        start, end, pace = self._place(index), self._place(index + 1), 1 + tau**2
        if self.config.predicts_original:
            kept, scale = math.exp(-(tau**2) * h) * end.sigma / start.sigma, pace * end.alpha
            added = end.sigma * math.sqrt(-math.expm1(-2 * tau**2 * h))
            weights = integrate_polynomials(lambdas, start.lambda_, end.lambda_, pace)
            if len(weights) == 2:
                shift = _shift_weight(h, pace) / (lambdas[0] - lambdas[1])
                weights = [weights[0] + shift, weights[1] - shift]
        else:
            kept, scale = end.alpha / start.alpha, -pace * end.sigma
            added = tau * end.sigma * math.sqrt(math.expm1(2 * h))
            weights = integrate_polynomials(lambdas, start.lambda_, end.lambda_, -1.0)
        terms = [(scale * w, output) for w, output in zip(weights, outputs, strict=False)]
        return noise.weighted_sum((kept, sample), *terms, (added, fresh)).to(sample.dtype)

    @override
    def _convert_output(self, model_output: Tensor, sample: Tensor, index: int) -> Tensor:
        if self.config.variance_type is not None:
            model_output = model_output[:, : sample.shape[1]]
        if self.config.predicts_original:
            return self._predict_original(model_output, sample, index)
        return self._predict_thresholded_noise(model_output, sample, index)

    @property
    @override
    def _memory(self) -> int:
        return max(self.config.predictor_order, self.config.corrector_order - 1)

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        self._last = []
        planned = self._space_timesteps(count, self._bound).astype(np.int64)
        return self._lay_out(count, planned, self._smallest_or_last())


def _usual_tau(timestep: float) -> float:
    return 1.0 if 200 <= timestep <= 800 else 0.0


def _shift_weight(h: float, pace: float) -> float:
    """What the second order moves between its outputs, by their distance: as in the authors' code.

    The difference between integrating the slope over time and over the weight `exp(pace · x)`.
    """
    return h**2 / 2 - (h * pace + math.expm1(-pace * h)) / pace**2
