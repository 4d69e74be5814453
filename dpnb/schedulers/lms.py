"""Linear multistep in sigma, of Katherine Crowson's k-diffusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators
from dpnb.numbers import parse_int
from dpnb.schedulers import noise
from dpnb.schedulers.config import SchedulerConfig
from dpnb.schedulers.scheduler import SchedulerOutput, Timestep
from dpnb.schedulers.spacing import Array
from dpnb.schedulers.variance_exploding import VarianceExplodingScheduler


@dataclass(frozen=True, kw_only=True, eq=False)
class LMSDiscreteConfig(SchedulerConfig):
    """Settings of `LMSDiscreteScheduler`."""

    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False


class LMSDiscreteScheduler(VarianceExplodingScheduler):
    """Adams-Bashforth steps over the sigmas, whose distances differ."""

    config_class: ClassVar[type[SchedulerConfig]] = LMSDiscreteConfig
    config: LMSDiscreteConfig
    _slopes: list[Tensor]

    def __init__(self, *values: Any, **settings: Any) -> None:
        super().__init__(*values, **settings)
        self._slopes = []

    @override
    def step(
        self,
        model_output: Tensor,
        timestep: Timestep,
        sample: Tensor,
        order: int = 4,
        *,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> SchedulerOutput:
        """Integrate the polynomial through the last `order` slopes; see `Scheduler.step`.

        Where a run begins in the middle of the schedule, the weights are those of that place, and
        the terms whose slopes are missing are left out, as in diffusers.
        """
        order = parse_int("order", order, least=1)
        index = self._current_index(timestep)
        sigma, sigma_next = self._sigmas[index : index + 2]
        original = self._predict_original(model_output, sample, sigma)
        known = 1 if index and self._sigmas[index - 1] == sigma else 0
        self._slopes = [(sample - original) / sigma, *self._slopes[known:]][:order]

        weights = lagrange_integrals(self._last_distinct_sigmas(index, order), sigma, sigma_next)
        terms = zip(weights, self._slopes, strict=False)
        prev_sample = noise.weighted_sum((1.0, sample), *terms)
        self._step_index = index + 1
        return SchedulerOutput(prev_sample, original).as_asked(return_dict)

    def get_lms_coefficient(self, order: int, t: int, current_order: int) -> float:
        """The weight of one of the last slopes in a step of `order`.

        Args:
            order: how many slopes the step knows.
            t: the index of the step in `timesteps`.
            current_order: which slope, the newest being 0.
        """
        nodes = [self._sigmas[t - age] for age in range(order)]
        return lagrange_integrals(nodes, self._sigmas[t], self._sigmas[t + 1])[current_order]

    def _last_distinct_sigmas(self, index: int, order: int) -> list[float]:
        """The last `order` noise levels that differ, up to that at `index`, the newest first."""
        visited: list[float] = []
        while index >= 0 and len(visited) < order:
            if self._sigmas[index] not in visited[-1:]:
                visited.append(self._sigmas[index])
            index -= 1
        return visited

    @override
    def _plan_timesteps(self, count: int, timesteps: Array | None, sigmas: Array | None) -> Array:
        self._slopes = []
        return super()._plan_timesteps(count, timesteps, sigmas)


def lagrange_integrals(nodes: Sequence[float], start: float, end: float) -> list[float]:
    """The integrals from `start` to `end` of the Lagrange polynomials on `nodes`, in their order.

    Gauss-Legendre quadrature on `n` points, exact up to degree `2 n - 1`.
    """
    points, point_weights = _gauss_legendre((len(nodes) + 1) // 2)
    half, middle = (end - start) / 2, (end + start) / 2
    places = [middle + half * point for point in points]
    weights = [half * weight for weight in point_weights]
    return [
        sum(w * _lagrange(nodes, which, x) for x, w in zip(places, weights, strict=True))
        for which in range(len(nodes))
    ]


@cache
def _gauss_legendre(count: int) -> tuple[list[float], list[float]]:
    points, weights = np.polynomial.legendre.leggauss(count)
    return points.tolist(), weights.tolist()


def _lagrange(nodes: Sequence[float], which: int, place: float) -> float:
    others = [node for index, node in enumerate(nodes) if index != which]
    return math.prod((place - other) / (nodes[which] - other) for other in others)
