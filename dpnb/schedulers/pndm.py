"""Pseudo numerical methods for diffusion models: Liu et al. (2022), arXiv:2202.09778."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.schedulers import noise
from dpnb.schedulers.config import SchedulerConfig
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array, TimestepSpacing
from dpnb.schedulers.variance_preserving import amplitudes

ADAMS_BASHFORTH: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the last predictions, the newest first, by how many there are."""

RUNGE_KUTTA = (1 / 6, 1 / 3, 1 / 3, 1 / 6)


@dataclass(frozen=True, kw_only=True, eq=False)
class PNDMConfig(SchedulerConfig):
    """Settings of `PNDMScheduler`.

    The multistep method starts with three Runge-Kutta steps of four evaluations; with
    `skip_prk_steps` it starts without them, with one evaluation more.
    """

    prediction_types: ClassVar[tuple[str, ...]] = ("epsilon", "v_prediction")

    timestep_spacing: TimestepSpacing = "leading"
    skip_prk_steps: bool = False
    set_alpha_to_one: bool = False


class PNDMScheduler(DiffusionScheduler):
    """PNDM: a linear multistep method of order four on the transfer function of DDIM.

    Timesteps are read as by `DDIMScheduler`; the formula of a step depends on the number of steps
    since `set_timesteps`. Runge-Kutta steps begin at the first timesteps of the schedule wherever
    the run begins, as in diffusers: begin in the middle with `skip_prk_steps`.
    """

    config_class: ClassVar[type[SchedulerConfig]] = PNDMConfig
    config: PNDMConfig
    _predictions: list[Tensor]
    _stages: list[Tensor]

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._reset_history(0)

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
        """The step after one evaluation: arXiv:2202.09778, section 3; see `Scheduler.step`."""
        is_starting = self._evaluations < self._starting_evaluations
        advance = self._runge_kutta if is_starting else self._linear_multistep
        return self._evaluate(advance, model_output, timestep, sample, return_dict)

    def step_prk(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor, return_dict: bool = True
    ) -> SchedulerOutput:
        """One evaluation of the Runge-Kutta start, as `step` makes for `prk_timesteps`."""
        return self._evaluate(self._runge_kutta, model_output, timestep, sample, return_dict)

    def step_plms(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor, return_dict: bool = True
    ) -> SchedulerOutput:
        """One evaluation of the multistep method, as `step` makes for `plms_timesteps`.

        Raises:
            ValueError: the Runge-Kutta start is missing.
        """
        if not self.config.skip_prk_steps and len(self._predictions) < 3:
            raise ValueError(
                f"step_plms needs 3 Runge-Kutta steps and there were {len(self._predictions)}; "
                "call step_prk for each of prk_timesteps first, or set skip_prk_steps=True."
            )
        return self._evaluate(self._linear_multistep, model_output, timestep, sample, return_dict)

    @override
    def predict_original_sample(
        self, model_output: Tensor, timestep: Timestep, sample: Tensor
    ) -> Tensor:
        t, _ = self._read_timestep(timestep)
        mixture = amplitudes(self._alpha_bars[t])
        a, b = noise.original_weights(self.config.prediction_type, *mixture)
        return noise.weighted_sum((a, sample), (b, model_output))

    @property
    def ets(self) -> list[Tensor]:
        """The model's last outputs, the newest last; they may be set."""
        return self._predictions

    @ets.setter
    def ets(self, predictions: list[Tensor]) -> None:
        self._predictions = [*predictions]

    @property
    def prk_timesteps(self) -> Array | None:
        """The timesteps of the Runge-Kutta start; None before `set_timesteps`."""
        return self._part(slice(self._starting_evaluations))

    @property
    def plms_timesteps(self) -> Array | None:
        """The timesteps of the multistep method; None before `set_timesteps`."""
        return self._part(slice(self._starting_evaluations, None))

    def _part(self, part: slice) -> Array | None:
        is_set = self.num_inference_steps is not None
        return np.array(self._schedule[part], dtype=np.int64) if is_set else None

    def _evaluate(
        self,
        advance: Callable[[Tensor, int, Tensor], Tensor],
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        return_dict: bool,
    ) -> SchedulerOutput:
        prev_sample = advance(model_output, self._timestep_value(timestep), sample)
        self._evaluations += 1
        return SchedulerOutput(prev_sample).as_asked(return_dict)

    def _runge_kutta(self, model_output: Tensor, t: int, sample: Tensor) -> Tensor:
        """Four evaluations from one sample, at its time, twice halfway, and at the end."""
        stage = self._evaluations % 4
        if stage == 0:
            self._start, self._stages = sample, []
            self._start_time = int(self._schedule[self._evaluations])
            self._predictions.append(model_output)
        self._stages.append(model_output)
        to = t if stage % 2 else t - self._stride // 2
        if stage == 3:
            model_output = noise.weighted_sum(*zip(RUNGE_KUTTA, self._stages, strict=True))
        return self._transfer(self._start, self._start_time, to, model_output)

    def _linear_multistep(self, model_output: Tensor, t: int, sample: Tensor) -> Tensor:
        """Adams-Bashforth; the second evaluation repeats the first step with the mean slope."""
        if self._evaluations == 1:
            mean = noise.weighted_sum((0.5, model_output), (0.5, self._predictions[-1]))
            return self._transfer(self._start, t + self._stride, t, mean)
        if self._evaluations == 0:
            self._start = sample
        self._predictions = [*self._predictions[-3:], model_output]
        weights = ADAMS_BASHFORTH[len(self._predictions) - 1]
        slope = noise.weighted_sum(*zip(weights, reversed(self._predictions), strict=True))
        return self._transfer(sample, t, t - self._stride, slope)

    def _transfer(self, sample: Tensor, t: int, to: int, model_output: Tensor) -> Tensor:
        """From time `t` to time `to` along `model_output`: arXiv:2202.09778, eq. 9."""
        here = self._alpha_bars[t]
        there = self._alpha_bars[to] if to >= 0 else self._final_alpha_bar
        a, b = noise.noise_weights(self.config.prediction_type, *amplitudes(here))
        slope = (here - there) / (
            here * math.sqrt(1 - there) + math.sqrt(here * (1 - here) * there)
        )
        return noise.weighted_sum(
            (math.sqrt(there / here) + slope * a, sample), (slope * b, model_output)
        )

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        visits: list[int] = super()._plan_timesteps(count, timesteps, sigmas).tolist()
        if count < 4 and not self.config.skip_prk_steps:
            raise ValueError(
                f"num_inference_steps is {count}; the Runge-Kutta start needs at least 4. Take "
                "more steps, or set skip_prk_steps=True."
            )
        self._stride = len(self) // count
        if self.config.skip_prk_steps:
            self._reset_history(0)
            return np.array(visits[:2] + visits[1:2] + visits[2:], dtype=np.int64)
        start = [
            time
            for t, to in pairwise(visits[:4])
            for time in (t, *[to + self._stride // 2] * 2, to)
        ]
        self._reset_history(len(start))
        return np.array(start + visits[3:], dtype=np.int64)

    def _reset_history(self, starting_evaluations: int) -> None:
        self._starting_evaluations = starting_evaluations
        self._evaluations = 0
        self._predictions = []
        self._stages = []
        self._start_time = 0
