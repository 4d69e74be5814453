"""The predicted original sample of a step is right where the model's output is."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from dpnb.schedulers import Scheduler
from dpnb.schedulers.catalog import MODULES, load_public_name
from dpnb.schedulers.predictions import predict_original
from tests.schedulers.test_schedulers import NoWaiting

STEPS = 8
BASES = {"Scheduler", "DiffusionScheduler"}
NAMES = [name for name in MODULES if name.endswith("Scheduler") and name not in BASES]
BACK = {"DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler"}
"""They lead to the noise."""

SHAPE = (2, 3, 4, 4)
ORIGINAL = torch.linspace(-1, 1, math.prod(SHAPE), dtype=torch.float64).view(SHAPE)
NOISE = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
NONE = torch.zeros_like(ORIGINAL)


def settings_of(name: str) -> Iterator[dict[str, Any]]:
    """Those for each prediction that a scheduler's models can make, and those that limit it."""
    config = load_public_name(name).config_class
    own = set(config.names())
    free: dict[str, Any] = {"clip_sample": False} if "clip_sample" in own else {}
    if "invert_sigmas" in own:
        yield {"invert_sigmas": True}
    if "prediction_type" not in own:
        yield free
        return
    kinds = inspect.getattr_static(config, "prediction_types", ("epsilon", "v_prediction"))
    if name == "DDIMInverseScheduler":
        free["set_alpha_to_one"] = False
    for kind in kinds:
        if kind != "flow_prediction":
            yield {**free, "prediction_type": kind}
        elif name not in BACK:
            yield {"prediction_type": kind, "use_flow_sigmas": True}
    yield from ({name: True} for name in ("clip_sample", "thresholding") if name in own)


CASES = [(name, settings) for name in NAMES for settings in settings_of(name)]


def begin(name: str, settings: dict[str, Any]) -> Any:
    scheduler = load_public_name(name)(**settings)
    scheduler.set_timesteps(STEPS)
    scheduler.set_begin_index(0)
    return scheduler


def mixture_at(scheduler: Any, index: int) -> tuple[float, float]:
    """The factors of original and noise in the sample that a step begins with."""
    t = scheduler.timesteps[index]
    if type(scheduler).__name__ == "IPNDMScheduler":
        angle = float(t) * math.pi / 2
        return math.cos(angle), math.sin(angle)
    if type(scheduler).__name__ == "DDIMInverseScheduler":
        t = t - len(scheduler) // STEPS
        if t < 0 and scheduler.config.set_alpha_to_one:
            return 1.0, 0.0
        t = t.clamp(min=0)
    if scheduler.config.get("use_flow_sigmas"):
        sigma = float(scheduler.sigmas[index])
        return 1 - sigma, sigma
    ones = torch.ones_like(ORIGINAL)
    alpha = scheduler.add_noise(ones, NONE, t[None]).flatten()[0].item()
    sigma = scheduler.add_noise(NONE, ones, t[None]).flatten()[0].item()
    is_inverted = scheduler.config.get("invert_sigmas")
    return (sigma, alpha) if is_inverted else (alpha, sigma)


def right_output(scheduler: Any, sample: Tensor, original: Tensor, mixture: Any) -> Tensor:
    """What a model predicts that knows the original."""
    alpha, sigma = mixture
    kind: str | None = scheduler.config.get("prediction_type")
    if "sigma_data" in scheduler.config.names():
        data = scheduler.config.sigma_data
        kept = data**2 / (sigma**2 + data**2)
        scale = sigma * data / math.hypot(sigma, data)
        output: Tensor = (original - kept * sample) / scale
        return output if kind == "epsilon" else -output
    if kind is None and type(scheduler).__name__ != "IPNDMScheduler":
        return original - NOISE if scheduler.config.get("invert_sigmas") else NOISE - original
    velocity = (alpha * NOISE - sigma * original) / math.hypot(alpha, sigma)
    known: dict[str | None, Tensor] = {
        "epsilon": NOISE,
        "flow_prediction": NOISE - original,
        "v_prediction": velocity,
    }
    known |= {"sample": original, "original_sample": original, None: velocity}
    return known[kind]


def outputs_of(scheduler: Any, scale: float = 1.0) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Output, timestep and sample of each step of a run whose model knows the original."""
    original = ORIGINAL * scale
    for index, t in enumerate(scheduler.timesteps):
        mixture = mixture_at(scheduler, index)
        sample = mixture[0] * original + mixture[1] * NOISE
        yield right_output(scheduler, sample, original, mixture), t, sample


def step(scheduler: Any, output: Tensor, t: Tensor, sample: Tensor) -> Any:
    generator = torch.Generator().manual_seed(1)
    return scheduler.step(output, t, sample, generator=generator)


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_the_original_comes_back_at_every_step(name: str, settings: dict[str, Any]) -> None:
    scheduler = begin(name, settings)
    seen = 0
    for output, t, sample in outputs_of(scheduler):
        found = predict_original(scheduler, output, t, sample)
        assert found is not None
        torch.testing.assert_close(found, ORIGINAL, rtol=0, atol=2e-4)
        step(scheduler, output, t, sample)
        seen += 1
    assert seen == len(scheduler.timesteps) >= STEPS


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_a_step_is_the_same_after_it(name: str, settings: dict[str, Any]) -> None:
    """And where a step tells its predicted original, it is that."""
    scheduler = begin(name, settings)
    for output, t, sample in outputs_of(scheduler, scale=3.0):
        twin = copy.deepcopy(scheduler)
        found = predict_original(scheduler, output, t, sample)
        stepped, plain = step(scheduler, output, t, sample), step(twin, output, t, sample)
        assert torch.equal(stepped.prev_sample, plain.prev_sample)
        told = stepped.pred_original_sample
        if told is not None and name != "LCMScheduler":
            torch.testing.assert_close(found, told.to(found), rtol=1e-6, atol=1e-6)
        elif found is not None and {"clip_sample", "thresholding"} & {
            key for key, on in settings.items() if on
        }:
            is_limited = name not in ("TCDScheduler",)
            assert (found.abs().max() <= 1) == is_limited


@pytest.mark.parametrize("name", NAMES)
def test_nobody_waits_for_a_device(name: str) -> None:
    scheduler = begin(name, {})
    t, sample = scheduler.timesteps[0], torch.randn(SHAPE)
    with NoWaiting():  # type: ignore[no-untyped-call]
        assert predict_original(scheduler, sample, t, sample) is not None


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDPMParallelScheduler", "SASolverScheduler"])
def test_a_learned_variance_is_left_out(name: str) -> None:
    scheduler = begin(name, {"variance_type": "learned_range"})
    output, t, sample = next(outputs_of(scheduler))
    found = predict_original(scheduler, torch.cat([output, NOISE], dim=1), t, sample)
    torch.testing.assert_close(found, ORIGINAL, rtol=0, atol=2e-4)


def test_it_has_the_dtype_of_the_sample() -> None:
    scheduler = begin("FlowMatchEulerDiscreteScheduler", {})
    sample = NOISE.bfloat16()
    found = predict_original(scheduler, sample, scheduler.timesteps[0], sample)
    assert found is not None
    assert found.dtype == torch.bfloat16


def test_a_scheduler_of_ones_own_need_not_say() -> None:
    class Own(Scheduler):
        def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **_: Any) -> Any:
            """Nothing."""

    assert predict_original(Own(), NOISE, 1.0, NOISE) is None


def test_before_a_schedule_there_is_none() -> None:
    with pytest.raises(ValueError, match="has no schedule yet"):
        predict_original(load_public_name("DDIMScheduler")(), NOISE, 1, NOISE)
