"""What training scripts need besides a network and a scheduler."""

from __future__ import annotations

import gc
import math
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dpnb.ema import EMAModel
from dpnb.module_paths import find_elsewhere

__all__ = [
    "EMAModel",
    "cast_training_params",
    "compute_density_for_timestep_sampling",
    "compute_loss_weighting_for_sd3",
    "compute_snr",
    "free_memory",
    "set_seed",
]

SCHEMES = ("logit_normal", "mode", "sigma_sqrt", "cosmap", "uniform", "none")
"""Ways to draw timesteps and to weigh losses; each of the two functions knows some."""


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)


def set_seed(seed: int) -> None:
    """Seed the generators of Python, of numpy, and of torch on every device."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def free_memory() -> None:
    """Collect what nothing refers to any more, and give back what torch keeps for later."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def cast_training_params(
    model: nn.Module | Iterable[nn.Module], dtype: torch.dtype = torch.float32
) -> None:
    """Cast the parameters that are trained, and leave the others.

    Args:
        model: one network or several.
        dtype: theirs from now on.
    """
    for network in [model] if isinstance(model, nn.Module) else model:
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.data = parameter.data.to(dtype)


def compute_snr(noise_scheduler: Any, timesteps: Tensor) -> Tensor:
    """The ratio of signal to noise at `timesteps`, float32 of their shape.

    Hang et al. (2023), Min-SNR, arXiv:2303.09556, section 3.1.

    Args:
        noise_scheduler: has `alphas_cumprod`.
        timesteps: of training.
    """
    alpha_bars = noise_scheduler.alphas_cumprod.to(timesteps.device)[timesteps].float()
    ratios: Tensor = alpha_bars / (1 - alpha_bars)
    return ratios


def compute_density_for_timestep_sampling(
    weighting_scheme: str,
    batch_size: int,
    logit_mean: float | None = None,
    logit_std: float | None = None,
    mode_scale: float | None = None,
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Times of a flow to train at, in [0, 1], `[batch]`: Esser et al. (2024), arXiv:2403.03206.

    Args:
        weighting_scheme: `"logit_normal"` draws by eq. 19, `"mode"` by eq. 20, others evenly.
        batch_size: how many.
        logit_mean: of the normal distribution, for `"logit_normal"`.
        logit_std: its standard deviation.
        mode_scale: the scale s, for `"mode"`.
        device: where they are drawn.
        generator: the source of chance.

    Raises:
        ValueError: there is no such scheme, or one of its numbers is missing.
    """
    _check_scheme(weighting_scheme)
    size = (batch_size,)
    if weighting_scheme == "logit_normal":
        mean, std = _needed("logit_mean", logit_mean), _needed("logit_std", logit_std)
        return torch.normal(mean, std, size, device=device, generator=generator).sigmoid()
    even = torch.rand(size, device=device, generator=generator)
    if weighting_scheme == "mode":
        bend = torch.cos(math.pi / 2 * even) ** 2 - 1 + even
        return 1 - even - _needed("mode_scale", mode_scale) * bend
    return even


def compute_loss_weighting_for_sd3(weighting_scheme: str, sigmas: Tensor) -> Tensor:
    """The weight of a flow's loss at each noise level: Esser et al. (2024), arXiv:2403.03206.

    Args:
        weighting_scheme: `"sigma_sqrt"`, or `"cosmap"` by eq. 21; others weigh all the same.
        sigmas: the noise levels, of any shape, which is that of the weights.

    Raises:
        ValueError: there is no such scheme.
    """
    _check_scheme(weighting_scheme)
    if weighting_scheme == "sigma_sqrt":
        return (1 / sigmas**2).float()
    if weighting_scheme == "cosmap":
        return 2 / (math.pi * (sigmas**2 + (1 - sigmas) ** 2))
    return torch.ones_like(sigmas)


def _check_scheme(name: str) -> None:
    if name not in SCHEMES:
        raise ValueError(f"weighting_scheme is {name!r}; it is one of {', '.join(SCHEMES)}.")


def _needed(name: str, value: float | None) -> float:
    if value is None:
        raise ValueError(f"{name} is None, and this weighting_scheme needs it; pass a number.")
    return value
