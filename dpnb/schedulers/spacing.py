"""Which timesteps a run visits, and at which noise levels: pure functions on numpy arrays.

Timesteps and sigmas of a run descend. Tables of the training schedule ascend.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
TimestepSpacing: TypeAlias = Literal["linspace", "leading", "trailing"]
SigmaSpacing: TypeAlias = Literal["karras", "exponential", "beta"]


def space_timesteps(
    spacing: TimestepSpacing, count: int, train_steps: int, offset: int = 0
) -> Array:
    """`count` timesteps below `train_steps`, float64; whole numbers but for `"linspace"`.

    Lin et al. (2023), arXiv:2305.08891, table 2.
    """
    if spacing == "linspace":
        return space_linspace(count, train_steps)
    if spacing == "leading":
        return space_leading(count, train_steps, offset)
    return space_trailing(count, train_steps)


def space_linspace(count: int, train_steps: int) -> Array:
    """From the last training timestep to 0, both ends included; not rounded."""
    return np.linspace(0, train_steps - 1, count)[::-1]


def space_leading(count: int, train_steps: int, offset: int = 0) -> Array:
    """Multiples of a whole stride, plus `offset`; the noisiest timesteps are left out."""
    timesteps: Array = np.arange(count)[::-1] * float(train_steps // count) + offset
    return timesteps


def space_trailing(count: int, train_steps: int, start: int | None = None) -> Array:
    """Equal strides down from the last timestep; 0 is left out.

    With `start` below `train_steps` the run begins there, in the same strides, and is shorter.
    """
    start = train_steps if start is None else start
    timesteps: Array = np.arange(start, 0, -train_steps / count)[:count].round() - 1
    return timesteps


def space_sigmas(spacing: SigmaSpacing, count: int, smallest: float, largest: float) -> Array:
    """`count` noise levels from `largest` to `smallest`, spaced as `spacing` says.

    `"karras"` is Karras et al. (2022), arXiv:2206.00364, eq. 5 with rho = 7; `"exponential"` is
    even in log sigma; `"beta"` is Lee et al. (2024), Beta Sampling, arXiv:2407.12173, with
    alpha = beta = 0.6.

    Raises:
        ValueError: `smallest` is 0, which exponential spacing cannot reach.
    """
    if spacing == "karras":
        return space_edm_sigmas("karras", np.linspace(0, 1, count), smallest, largest, 7)
    if spacing == "exponential":
        if smallest <= 0:
            raise ValueError(
                f"exponential sigmas cannot end at {smallest}; let the last one be above 0."
            )
        return np.exp(np.linspace(math.log(largest), math.log(smallest), count))
    quantiles = beta_quantiles(1 - np.linspace(0, 1, count), 0.6)
    sigmas: Array = smallest + quantiles * (largest - smallest)
    return sigmas


def space_edm_sigmas(
    schedule: Literal["karras", "exponential"],
    shares: Array,
    smallest: float,
    largest: float,
    rho: float,
) -> Array:
    """The noise levels at `shares` of the way from `largest` to `smallest`.

    Karras et al. (2022), arXiv:2206.00364, eq. 5; `"exponential"` ones are even in log sigma,
    whatever the shares are.
    """
    if schedule == "exponential":
        return np.exp(np.linspace(math.log(largest), math.log(smallest), len(shares)))
    low, high = smallest ** (1 / rho), largest ** (1 / rho)
    roots: Array = high + shares * (low - high)
    return roots**rho


def space_lu_sigmas(count: int, train_sigmas: Array) -> Array:
    """`count` noise levels, even in log sigma, over all of the ascending table `train_sigmas`.

    Lu et al. (2022), DPM-Solver, arXiv:2206.00927, section 3.4.
    """
    low, high = np.log(train_sigmas[[0, -1]]).tolist()
    sigmas: Array = np.exp(high + np.linspace(0, 1, count) * (low - high))
    return sigmas


def shift_sigmas(levels: Array, shift: float) -> Array:
    """`levels` of a flow moved towards the noise: Esser et al. (2024), arXiv:2403.03206, eq. 23."""
    moved: Array = shift * levels / (1 + (shift - 1) * levels)
    return moved


def stretch_to_terminal(levels: Any, terminal: float) -> Any:
    """`levels` stretched so that the last is `terminal`; the first stays.

    They are an array or a tensor `[n]`. A single level of 1 stays 1.
    """
    left = 1 - levels[-1]
    if left == 0:
        return levels
    return 1 - (1 - levels) * ((1 - terminal) / left)


def sigmas_to_timesteps(sigmas: Array, log_sigmas: Array) -> Array:
    """The fractional timestep of each noise level, linear in log sigma between training steps.

    Args:
        sigmas: `[n]`; those outside the table are clamped to its ends.
        log_sigmas: `[T]`, the ascending table of the training schedule.
    """
    log_sigma = np.log(np.maximum(sigmas, 1e-10))
    below = np.searchsorted(log_sigmas, log_sigma, side="right") - 1
    below = below.clip(0, len(log_sigmas) - 2)
    low, high = log_sigmas[below], log_sigmas[below + 1]
    share = np.clip((low - log_sigma) / (low - high), 0, 1)
    placed: Array = (1 - share) * below + share * (below + 1)
    return placed


def beta_quantiles(probabilities: Array, shape: float) -> Array:
    """Quantiles of the symmetric beta distribution with both parameters `shape`, below 1.

    Bisection on the series of the incomplete beta function (DLMF 8.17.7), which converges fast
    on the lower half; the upper half mirrors it.
    """
    is_upper = probabilities > 0.5
    lower = np.where(is_upper, 1 - probabilities, probabilities)
    series = _incomplete_beta_series(shape)
    low, high = np.zeros_like(lower), np.full_like(lower, 0.5)
    for _ in range(60):
        middle = (low + high) / 2
        is_below = middle**shape * np.polyval(series, middle) < lower
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
    return np.where(is_upper, 1 - high, high)


def _incomplete_beta_series(shape: float) -> list[float]:
    complete = math.gamma(shape) ** 2 / math.gamma(2 * shape)
    terms, factor = [], 1.0
    for n in range(60):
        terms.append(factor / (shape + n) / complete)
        factor *= (n + 1 - shape) / (n + 1)
    return terms[::-1]
