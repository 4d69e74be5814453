"""Integrals of polynomials through given places times an exponential, in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def integrate_polynomials(
    nodes: Sequence[float], start: float, end: float, rate: float
) -> list[float]:
    """The integrals from `start` to `end` of the Lagrange polynomials on `nodes`, in their order.

    Each is weighted by `exp(rate · (x - end))`; `rate` is not 0.
    """
    moments = _moments(start - end, rate, len(nodes))
    powers = np.vander(np.array(nodes) - end, increasing=True).T
    weights: list[float] = np.linalg.solve(powers, moments).tolist()
    return weights


def _moments(start: float, rate: float, count: int) -> list[float]:
    """The integrals from `start` to 0 of `x^k exp(rate · x)` for `k` below `count`, by parts."""
    moments = [-math.expm1(rate * start) / rate]
    for k in range(1, count):
        edge = start**k * math.exp(rate * start)
        moments.append(-(edge + k * moments[-1]) / rate)
    return moments
