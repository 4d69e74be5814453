"""Noise levels in the three forms that solvers in lambda read."""

from __future__ import annotations

import math
from typing import NamedTuple


class Mixtures(NamedTuple):
    """What samples at some noise levels are, `alpha · original + sigma · noise`.

    Args:
        alphas: the share of the original.
        stds: that of the noise.
        lambdas: the logarithm of their ratio; infinite without noise.
    """

    alphas: list[float]
    stds: list[float]
    lambdas: list[float]


def mix(sigmas: list[float], *, is_flow: bool) -> Mixtures:
    """The mixtures at `sigmas`: sigma / alpha, or sigma itself of a flow."""
    if is_flow:
        alphas, stds = [1 - sigma for sigma in sigmas], sigmas
        ratios = [sigma / (1 - sigma) for sigma in sigmas]
    else:
        ratios = sigmas
        alphas = [1 / math.hypot(sigma, 1) for sigma in sigmas]
        stds = [sigma * alpha for sigma, alpha in zip(sigmas, alphas, strict=True)]
    return Mixtures(alphas, stds, [-math.log(ratio) if ratio else math.inf for ratio in ratios])
