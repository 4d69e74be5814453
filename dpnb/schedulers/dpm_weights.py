"""The weights of DPM-Solver's steps: exponential integrators of order 1 to 3.

Lu et al. (2022), arXiv:2206.00927, eq. 3.7 and appendix B, for the predicted noise;
arXiv:2211.01095, algorithm 2 and its appendices, for the predicted original.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

ALGORITHMS = ("dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++")
"""The `++` ones approximate the predicted original, the others the noise; `sde-` ones add noise."""


class Place(NamedTuple):
    """A noise level: the factors of original and noise, and the logarithm of their ratio."""

    alpha: float
    sigma: float
    lambda_: float


class Weights(NamedTuple):
    """A step's weights of the sample, of the output's value, slope and curvature, and of noise.

    Slope and curvature are by shares of the step.
    """

    sample: float
    value: float
    slope: float
    curvature: float
    noise: float


def weigh(algorithm: str, start: Place, end: Place) -> Weights:
    """The weights of a step from `start` to `end`.

    An SDE has twice h, or twice sigma, in the output's weights, and adds noise. The third order of
    `"sde-dpmsolver++"` is diffusers' own.
    """
    h = end.lambda_ - start.lambda_
    is_stochastic = algorithm.startswith("sde")
    pace = 2 if is_stochastic else 1
    if algorithm.endswith("++"):
        kept = end.sigma / start.sigma
        scale, phis, grown = end.alpha, _phis(-pace * h), -math.expm1(-2 * h)
    else:
        kept = end.alpha / start.alpha
        scale, phis, grown = pace * end.sigma, _phis(h), math.expm1(2 * h)
    value, slope, curvature = phis
    if algorithm == "sde-dpmsolver++":
        kept, curvature = kept * math.exp(-h), curvature + 1
    added = end.sigma * math.sqrt(grown) if is_stochastic else 0.0
    return Weights(kept, -scale * value, -scale * slope, -scale * curvature, added)


def extrapolate(
    weights: Weights, h: float, outputs: list[Tensor], lambdas: list[float], solver_type: str
) -> list[tuple[float, Tensor]]:
    """The terms of a multistep method in its last outputs.

    Args:
        weights: of the step.
        h: its length in lambda.
        outputs: the last outputs, the newest first, as many as the order.
        lambdas: where they were made.
        solver_type: `"midpoint"` or `"heun"`, the form of the second order.
    """
    if len(outputs) == 1:
        return [(weights.value, outputs[0])]
    h0 = lambdas[0] - lambdas[1]
    if len(outputs) == 2:
        slope = (weights.value / 2 if solver_type == "midpoint" else weights.slope) * h / h0
        return [(weights.value + slope, outputs[0]), (-slope, outputs[1])]

    r0, r1 = h0 / h, (lambdas[1] - lambdas[2]) / h
    newer = weights.slope + (weights.slope * r0 + weights.curvature) / (r0 + r1)
    older = -(weights.slope * r0 + weights.curvature) / (r0 + r1)
    return [
        (weights.value + newer / r0, outputs[0]),
        (older / r1 - newer / r0, outputs[1]),
        (-older / r1, outputs[2]),
    ]


def interpolate(
    weights: Weights, h: float, outputs: list[Tensor], lambdas: list[float], solver_type: str
) -> list[tuple[float, Tensor]]:
    """The terms of a singlestep method, whose step began at the oldest of its outputs.

    The arguments are those of `extrapolate`; `"midpoint"` leaves out the curvature of the third
    order.
    """
    oldest, shares = lambdas[-1], [(place - lambdas[-1]) / h for place in lambdas[:-1]]
    if oldest == lambdas[0]:
        return [(weights.value, outputs[0])]
    if len(outputs) == 2:
        slope = (weights.value / 2 if solver_type == "midpoint" else weights.slope) / shares[0]
        return [(slope, outputs[0]), (weights.value - slope, outputs[1])]

    r0, r1 = shares
    if solver_type == "midpoint":
        slope = weights.slope / r0
        return [(slope, outputs[0]), (weights.value - slope, outputs[2])]
    newer = (2 * weights.curvature - weights.slope * r1) / (r0 - r1) / r0
    middle = (weights.slope * r0 - 2 * weights.curvature) / (r0 - r1) / r1
    return [
        (newer, outputs[0]),
        (middle, outputs[1]),
        (weights.value - newer - middle, outputs[2]),
    ]


def _phis(h: float) -> tuple[float, float, float]:
    """`e^h - 1`, and its remainders after the first and second term, divided by powers of `h`.

    The functions phi of arXiv:2206.00927, appendix B, but for factors that the weights absorb.
    """
    first = math.expm1(h)
    if h == 0 or math.isinf(h):
        return first, math.nan, math.nan
    return first, first / h - 1, (first - h) / h**2 - 0.5
