"""Noise schedules and predictions: pure functions that all schedulers share.

A noisy sample is `alpha · original + sigma · noise`, where `alpha² = alphas_cumprod` and
`alpha² + sigma² = 1` (Ho et al. 2020, arXiv:2006.11239, eq. 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from dpnb.generators import Generators, randn

BetaSchedule: TypeAlias = Literal[
    "linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid", "laplace", "exp"
]
PredictionType: TypeAlias = Literal["epsilon", "sample", "v_prediction", "flow_prediction"]

TERMINAL_ALPHA_BAR = 2.0**-24
"""Takes the place of 0 where sigma must be finite: sigma is then 4096."""


def make_betas(schedule: BetaSchedule, start: float, end: float, count: int) -> Tensor:
    """The variances beta_t that each training step adds, float32 of shape `[count]`.

    `"squaredcos_cap_v2"` is Nichol & Dhariwal (2021), arXiv:2102.09672, eq. 17;
    `"laplace"` is Hang et al. (2024), arXiv:2407.03297; these and `"exp"` ignore `start` and `end`.
    """
    if schedule == "linear":
        return torch.linspace(start, end, count, dtype=torch.float32)
    if schedule == "scaled_linear":
        return torch.linspace(start**0.5, end**0.5, count, dtype=torch.float32) ** 2
    if schedule == "sigmoid":
        return torch.sigmoid(torch.linspace(-6, 6, count)) * (end - start) + start
    return _betas_of(_ALPHA_BARS[schedule], count)


def betas_for_alpha_bar(
    num_diffusion_timesteps: int,
    max_beta: float = 0.999,
    alpha_transform_type: Literal["cosine", "laplace", "exp"] = "cosine",
) -> Tensor:
    """The variances of `make_betas` by the name that scripts use, none of them above `max_beta`.

    Raises:
        ValueError: there is no such way of alpha bar.
    """
    name = "squaredcos_cap_v2" if alpha_transform_type == "cosine" else alpha_transform_type
    if name not in _ALPHA_BARS:
        raise ValueError(
            f"alpha_transform_type is {alpha_transform_type!r}; use cosine, laplace or exp."
        )
    return _betas_of(_ALPHA_BARS[name], num_diffusion_timesteps, max_beta)


def rescale_zero_terminal_snr(betas: Tensor) -> Tensor:
    """Betas `[T]` shifted and scaled so that the last step leaves no signal.

    Lin et al. (2023), Common Diffusion Noise Schedules and Sample Steps Are Flawed,
    arXiv:2305.08891, algorithm 1.
    """
    roots = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = roots[0], roots[-1]
    alpha_bars = ((roots - last) * (first / (first - last))) ** 2
    before = torch.cat([torch.ones_like(alpha_bars[:1]), alpha_bars[:-1]])
    return 1 - alpha_bars / before


def alphas_to_sigmas(alphas_cumprod: Tensor) -> Tensor:
    """Noise per unit of signal, `sigma / alpha`, of the shape of `alphas_cumprod`.

    Song et al. (2020), DDIM, arXiv:2010.02502, section 4.3.
    """
    return ((1 - alphas_cumprod) / alphas_cumprod) ** 0.5


def original_weights(prediction: PredictionType, alpha: float, sigma: float) -> tuple[float, float]:
    """`(a, b)` such that `original = a · sample + b · model_output`.

    `"v_prediction"` is Salimans & Ho (2022), arXiv:2202.00512, section 4 and appendix D;
    `"flow_prediction"`, for `alpha + sigma = 1`, is Esser et al. (2024), arXiv:2403.03206,
    section 2.

    Raises:
        ValueError: the sample holds no signal, so that the noise says nothing of the original.
    """
    if prediction == "sample":
        return 0.0, 1.0
    if prediction == "v_prediction":
        return alpha, -sigma
    if prediction == "flow_prediction":
        return 1.0, -sigma
    if alpha == 0.0:
        raise ValueError(
            'prediction_type "epsilon" cannot start from pure noise, as rescale_betas_zero_snr '
            'asks; use a "v_prediction" model, or leave rescale_betas_zero_snr off.'
        )
    return 1 / alpha, -sigma / alpha


def noise_weights(prediction: PredictionType, alpha: float, sigma: float) -> tuple[float, float]:
    """`(a, b)` such that `noise = a · sample + b · model_output`; `sigma` is positive."""
    if prediction == "epsilon":
        return 0.0, 1.0
    if prediction == "v_prediction":
        return sigma, alpha
    if prediction == "flow_prediction":
        return 1.0, alpha
    return 1 / sigma, -alpha / sigma


def weighted_sum(*terms: tuple[float, Tensor]) -> Tensor:
    """The sum of `weight · tensor`, one operation per term.

    Terms of weight 0 are left out. The weights are Python numbers: nothing waits for a device.
    """
    total: Tensor | None = None
    for weight, tensor in terms:
        if weight == 0.0:
            continue
        if total is not None:
            total = torch.add(total, tensor, alpha=weight)
        else:
            total = tensor if weight == 1.0 else tensor * weight
    return torch.zeros_like(terms[0][1]) if total is None else total


def threshold(original: Tensor, ratio: float, maximum: float) -> Tensor:
    """Dynamic thresholding of predicted originals `[batch, ...]`, in their dtype.

    Each is clipped to the `ratio` quantile of its absolute values, between 1 and `maximum`, and
    divided by it: Saharia et al. (2022), Imagen, arXiv:2205.11487, section 2.3.
    """
    wide = at_least_float32(original)
    limits = torch.quantile(wide.abs().flatten(1), ratio, dim=1).clamp(1, maximum)
    limits = limits.view(-1, *[1] * (original.ndim - 1))
    return (wide.clamp(-limits, limits) / limits).to(original.dtype)


def at_least_float32(tensor: Tensor) -> Tensor:
    """`tensor`, cast to float32 if its dtype is narrower."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def randn_like(
    sample: Tensor,
    generator: Generators = None,
    given: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Noise of the shape and device of `sample`, in its dtype or `dtype`; or the noise `given`.

    Raises:
        ValueError: both a generator and the noise were given, or the generator cannot serve.
    """
    dtype = sample.dtype if dtype is None else dtype
    if given is None:
        return randn(sample.shape, generator=generator, device=sample.device, dtype=dtype)
    if generator is not None:
        raise ValueError("Both generator and variance_noise were given; leave one of them out.")
    return given.to(device=sample.device, dtype=dtype)


def _betas_of(alpha_bar: Callable[[float], float], count: int, most: float = 0.999) -> Tensor:
    levels = [alpha_bar(step / count) for step in range(count + 1)]
    return torch.tensor([min(1 - after / before, most) for before, after in pairwise(levels)])


def _cosine(t: float) -> float:
    return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2


def _laplace(t: float) -> float:
    log_snr = -0.5 * math.copysign(1, 0.5 - t) * math.log(1 - 2 * abs(0.5 - t) + 1e-6)
    snr = math.exp(log_snr)
    return math.sqrt(snr / (1 + snr))


def _exponential(t: float) -> float:
    return math.exp(-12.0 * t)


_ALPHA_BARS: dict[str, Callable[[float], float]] = {
    "squaredcos_cap_v2": _cosine,
    "laplace": _laplace,
    "exp": _exponential,
}
