"""The predicted original sample of a step, by a scheduler of whatever origin.

Of one that was not written here, by the tables and settings that it holds.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, TypeAlias, TypeGuard, cast

import torch
from torch import Tensor

from dpnb.schedulers import noise
from dpnb.schedulers.config import PREDICTIONS
from dpnb.schedulers.log_snr_config import FLOW
from dpnb.schedulers.scheduler import Scheduler, Timestep

Settings: TypeAlias = Mapping[str, Any]
Weights: TypeAlias = tuple[float, float]
"""Of the sample and of the model's output, in the predicted original."""

PLACES = ("_step_index", "_begin_index")
"""Where schedulers keep the index of the next step."""

CLEAN = "original_sample"
"""Another word for the prediction `"sample"`."""


def predict_original(
    scheduler: Any, model_output: Tensor, timestep: Timestep, sample: Tensor
) -> Tensor | None:
    """The sample without noise that `model_output` means, before a step is made with it.

    Args:
        scheduler: whose `step` is called next; it stays as it is.
        model_output: what that is given: the guided prediction, where there is guidance.
        timestep: likewise.
        sample: likewise.

    Returns:
        In the shape and dtype of `sample`; `None` where the scheduler does not hold what it takes.
    """
    with torch.no_grad():
        if isinstance(scheduler, Scheduler):
            original = scheduler.predict_original_sample(model_output, timestep, sample)
        else:
            original = _read_original(scheduler, model_output, timestep, sample)
        return None if original is None else original.to(sample.dtype)


def _read_original(
    scheduler: Any, model_output: Tensor, timestep: Timestep, sample: Tensor
) -> Tensor | None:
    held: Settings = vars(scheduler)
    settings = _settings_of(scheduler, held)
    own = model_output[:, : sample.shape[1]]  # without a learned variance
    if own.shape != sample.shape:
        return None
    weights: Weights | None
    if isinstance(held.get("sigmas"), Tensor) and "index_for_timestep" in dir(scheduler):
        sigma = _find_sigma(held, _find_index(scheduler, held, timestep))
        if "precondition_outputs" in dir(scheduler):
            original: Tensor = scheduler.precondition_outputs(sample, own, sigma)
            return _limit(settings, original)
        weights = _weights_by_sigma(scheduler, held, settings, sigma)
    else:
        weights = _weights_by_timestep(held, settings, timestep)
    if weights is None:
        return None
    return _limit(settings, noise.weighted_sum((weights[0], sample), (weights[1], own)))


def _weights_by_sigma(
    scheduler: Any, held: Settings, settings: Settings, sigma: float
) -> Weights | None:
    """Those at a noise level: of a flow, of a mixture, or of a sum."""
    kind = settings.get("prediction_type")
    if kind is None and "shift" in settings and "scale_noise" in dir(scheduler):
        return 1.0, float(held["sigmas"][-1]) - sigma
    kind = "sample" if kind == CLEAN else kind
    if not _is_known(kind):
        return None
    is_mixture = "alpha_t" in held
    if is_mixture and settings.get("use_flow_sigmas"):
        return noise.original_weights(kind, 1 - sigma, sigma)
    alpha = 1 / math.hypot(sigma, 1)
    a, b = noise.original_weights(kind, alpha, sigma * alpha)
    return (a, b) if is_mixture else (a * alpha, b)


def _is_known(kind: Any) -> TypeGuard[noise.PredictionType]:
    return kind in (*PREDICTIONS, FLOW)


def _find_sigma(held: Settings, index: int) -> float:
    """The noise level of the next step; in the middle of a step of two, that of its trial."""
    is_between = held.get("sample") is not None
    if is_between and "sigmas_interpol" in held:
        return float(held["sigmas_interpol"][index - ("sigmas_down" in held)])
    if is_between and "noise_sampler" in held:
        return math.sqrt(float(held["sigmas"][index - 1]) * float(held["sigmas"][index]))
    return float(held["sigmas"][index])


def _find_index(scheduler: Any, held: Settings, timestep: Timestep) -> int:
    """The index of the next step."""
    known = (held.get(name) for name in PLACES)
    index = next((place for place in known if place is not None), None)
    return int(scheduler.index_for_timestep(timestep) if index is None else index)


def _weights_by_timestep(held: Settings, settings: Settings, timestep: Timestep) -> Weights | None:
    """Those of a mixture that is looked up by timestep."""
    kind, table = settings.get("prediction_type"), held.get("alphas_cumprod")
    is_one = not isinstance(timestep, Tensor) or timestep.numel() == 1
    leads_back = "initial_alpha_cumprod" in held  # its samples are those of the timestep before
    if not isinstance(table, Tensor) or not is_one or leads_back or not _is_known(kind):
        return None
    alpha_bar = float(table[int(timestep)])
    return noise.original_weights(kind, math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar))


def _settings_of(scheduler: Any, held: Settings) -> Settings:
    """The settings that the class of a scheduler has, and not only keeps for another."""
    config: Settings = held.get("_internal_dict") or {}
    known = _setting_names(cast(Hashable, type(scheduler)))
    return {name: value for name, value in config.items() if name in known}


@cache
def _setting_names(kind: Any) -> frozenset[str]:
    return frozenset(inspect.signature(kind).parameters)


def _limit(settings: Settings, original: Tensor) -> Tensor:
    """A predicted original, thresholded or clipped as the settings say."""
    if settings.get("thresholding"):
        ratio, most = settings["dynamic_thresholding_ratio"], settings["sample_max_value"]
        return noise.threshold(original, ratio, most)
    if settings.get("clip_sample"):
        limit = float(settings.get("clip_sample_range") or 1.0)
        return original.clamp(-limit, limit)
    return original
