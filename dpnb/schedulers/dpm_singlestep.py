"""DPM-Solver and DPM-Solver++, singlestep: Lu et al. (2022), arXiv:2206.00927, arXiv:2211.01095."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import BetaConfig
from dpnb.schedulers.dpm_solver import DPMSolverConfig, DPMSolverScheduler
from dpnb.schedulers.dpm_weights import interpolate, weigh
from dpnb.schedulers.log_snr_config import FinalSigmaConfig, ShiftedConfig
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array


@dataclass(frozen=True, kw_only=True, eq=False)
class DPMSolverSinglestepConfig(DPMSolverConfig, FinalSigmaConfig, ShiftedConfig):
    """Settings of `DPMSolverSinglestepScheduler`.

    With `lower_order_final` the last steps are of lower order; so they are, too, in runs that end
    at sigma 0, or whose number of steps is no multiple of `solver_order`.
    """

    algorithms: ClassVar[tuple[str, ...]] = ("dpmsolver", "dpmsolver++", "sde-dpmsolver++")

    lower_order_final: bool = False


class DPMSolverSinglestepScheduler(DPMSolverScheduler):
    """DPM-Solver of order 1 to 3 that forgets: each round of steps begins anew.

    The first step of a round is of first order. Each later one starts where the round did, with
    all outputs since, and so has one order more.
    """

    config_class: ClassVar[type[BetaConfig]] = DPMSolverSinglestepConfig
    accepts: ClassVar[frozenset[str]] = frozenset({"timesteps"})
    config: DPMSolverSinglestepConfig
    _round: list[Tensor]
    """The sample that the round began with; empty before the first."""

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """One step of arXiv:2206.00927, algorithms 1 and 2; see `Scheduler.step`.

        The output's second entry is there for the `++` algorithms.
        """
        index = self._current_index(timestep)
        output = self._convert_output(model_output, sample, index)
        if self._orders[index] == 1 or not self._round:
            self._round, self._round_index = [sample], index
            self._outputs, self._output_lambdas = [], []
        self._record_output(output, index)
        start, end = self._place(self._round_index), self._place(index + 1)
        weights = weigh(self.config.algorithm_type, start, end)
        h, kind = end.lambda_ - start.lambda_, self.config.solver_type
        terms = interpolate(weights, h, self._outputs, self._output_lambdas, kind)
        if self.config.is_stochastic:
            terms.append((weights.noise, noise.randn_like(output, generator)))
        prev_sample = noise.weighted_sum((weights.sample, self._round[0]), *terms)
        self._step_index = index + 1
        original = output if return_dict and self.config.predicts_original else None
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    def _list_orders(self, count: int) -> list[int]:
        """The order of each step of a run: 1, 2, ... in every round."""
        order, config = self.config.solver_order, self.config
        full, rest = divmod(count, order)
        if rest:
            rounds = [*[order] * full, rest]
        elif config.lower_order_final or config.ends_at_zero:
            rounds = [*[order] * (full - 1), order - 1, 1]
        else:
            rounds = [order] * full
        orders = [step + 1 for length in rounds for step in range(length)]
        return [*orders[:-1], 1] if config.ends_at_zero else orders

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        planned = self._space_timesteps(count, self._bound) if timesteps is None else timesteps
        planned = self._lay_out(count, planned.astype(np.int64), self._final_sigma())
        self._round, self._orders = [], self._list_orders(count)
        return planned
