"""What scripts ask of schedulers beside runs, and steps before one is set, beside diffusers'."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb.schedulers
from dpnb.schedulers import DDPMScheduler, LMSDiscreteScheduler, PNDMScheduler
from tests.reference.scheduler_cases import (
    NAMES,
    QUIET,
    Settings,
    distance,
    initial,
    model,
    pair,
    with_generator,
)

pytestmark = QUIET

UNTIMED = [name for name in NAMES if not getattr(dpnb.schedulers, name).needs_set_timesteps]


@pytest.mark.parametrize("name", UNTIMED)
def test_steps_without_a_number_of_steps_are_those_of_training(name: str) -> None:
    ends = []
    for scheduler in pair(name, {"beta_schedule": "scaled_linear"}):
        sample, noises = initial(torch.float32), with_generator(scheduler, 1)
        for t in scheduler.timesteps[: 6 * scheduler.order]:
            output = model(scheduler.scale_model_input(sample, t), t)
            sample = scheduler.step(output, t, sample, **noises).prev_sample
        ends.append(sample)
    assert distance(ends[1], ends[0]) < 1e-5


@pytest.mark.parametrize("spacing", ["linspace", "leading"])
@pytest.mark.parametrize("name", NAMES)
def test_the_first_noise_has_the_same_level(name: str, spacing: str) -> None:
    theirs, ours = pair(name, {"timestep_spacing": spacing})
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
    sample = initial(torch.float32)
    scaled = sample * ours.init_noise_sigma
    torch.testing.assert_close(scaled, sample * theirs.init_noise_sigma)
    assert (sample.half() * ours.init_noise_sigma).dtype == torch.float16


def test_a_level_of_noise_answers_as_a_tensor() -> None:
    theirs, ours = pair("EulerDiscreteScheduler", {})
    level: Any = ours.init_noise_sigma
    assert level.item() == theirs.init_noise_sigma.item()
    assert torch.equal(level.to(torch.float64), theirs.init_noise_sigma.to(torch.float64))
    assert level.to("meta").device.type == "meta"


@pytest.mark.parametrize("settings", [{}, {"skip_prk_steps": True}], ids=str)
def test_the_methods_of_pndm_may_be_called_by_name(settings: Settings) -> None:
    ends: list[list[Tensor]] = []
    for scheduler in pair("PNDMScheduler", settings):
        scheduler.set_timesteps(8)
        assert isinstance(scheduler, PNDMScheduler) or "diffusers" in type(scheduler).__module__
        either: Any = scheduler
        sample, visited = initial(torch.float32), []
        for t in either.prk_timesteps:
            sample = either.step_prk(model(sample, t), t, sample).prev_sample
            visited.append(sample)
        for t in either.plms_timesteps:
            sample = either.step_plms(model(sample, t), t, sample).prev_sample
            visited.append(sample)
        ends.append(visited)
    for theirs, ours in zip(*ends, strict=True):
        assert distance(ours, theirs) < 1e-5


def test_pndm_refuses_its_second_method_without_the_first() -> None:
    scheduler = PNDMScheduler()
    scheduler.set_timesteps(8)
    sample = initial(torch.float32)
    with pytest.raises(ValueError, match="step_plms needs 3 Runge-Kutta steps and there were 0; "):
        scheduler.step_plms(sample, 0, sample)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_weights_of_linear_multistep_are_the_same(order: int) -> None:
    theirs, ours = pair("LMSDiscreteScheduler", {})
    assert isinstance(ours, LMSDiscreteScheduler)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(10)
    for which in range(order):
        expected = theirs.get_lms_coefficient(order, 5, which)
        assert ours.get_lms_coefficient(order, 5, which) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("DPMSolverMultistepScheduler", {}),
        ("DPMSolverMultistepScheduler", {"prediction_type": "v_prediction", "thresholding": True}),
        ("UniPCMultistepScheduler", {}),
        ("UniPCMultistepScheduler", {"predict_x0": False, "final_sigmas_type": "sigma_min"}),
    ],
    ids=str,
)
def test_outputs_are_converted_alike(name: str, settings: Settings) -> None:
    sample, converted = initial(torch.float32), []
    for scheduler in pair(name, settings):
        either: Any = scheduler
        either.set_timesteps(10)
        moved = either.step(0.5 * sample, either.timesteps[0], sample).prev_sample
        converted.append(either.convert_model_output(torch.tanh(moved), sample=moved))
    assert distance(converted[1], converted[0]) < 1e-5
    with pytest.raises(ValueError, match="convert_model_output needs a sample, and a run that"):
        either.convert_model_output(sample)


def test_timesteps_that_follow_are_the_same() -> None:
    theirs, ours = pair("DDPMScheduler", {})
    assert isinstance(ours, DDPMScheduler)
    for t in (999, 500, 0):
        assert int(ours.previous_timestep(t)) == int(theirs.previous_timestep(t))
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(7)
    for t, u in zip(theirs.timesteps, ours.timesteps, strict=True):
        assert int(ours.previous_timestep(u)) == int(theirs.previous_timestep(t))


@pytest.mark.parametrize("is_clean", [False, True])
@pytest.mark.parametrize("name", ["DDIMScheduler", "PNDMScheduler", "LCMScheduler", "TCDScheduler"])
def test_runs_end_at_the_same_level(name: str, is_clean: bool) -> None:
    theirs, ours = pair(name, {"set_alpha_to_one": is_clean})
    assert torch.equal(ours.final_alpha_cumprod, theirs.final_alpha_cumprod)


INVERSE: list[Settings] = [
    {},
    {"clip_sample": False, "prediction_type": "v_prediction"},
    {"set_alpha_to_one": False, "steps_offset": 1, "prediction_type": "sample"},
    {"timestep_spacing": "trailing", "beta_schedule": "scaled_linear"},
]


@pytest.mark.parametrize("settings", INVERSE, ids=str)
def test_inverse_runs_are_the_same(settings: Settings) -> None:
    ends: list[Any] = []
    theirs, ours = pair("DDIMInverseScheduler", settings)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    for scheduler in (theirs, ours):
        scheduler.set_timesteps(12)
        sample = initial(torch.float32)
        for t in scheduler.timesteps:
            step = scheduler.step(model(sample, t), t, sample)
            sample = step.prev_sample
        ends += [sample, step.pred_original_sample]
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert distance(ends[2], ends[0]) < 1e-5
    assert distance(ends[3], ends[1]) < 1e-5
    known = {key: value for key, value in theirs.config.items() if not key.startswith("_")}
    assert ours.config == known


@pytest.mark.parametrize("settings", [{}, {"prediction_type": "v_prediction"}], ids=str)
@pytest.mark.parametrize("name", ["DDIMParallelScheduler", "DDPMParallelScheduler"])
def test_batches_of_several_timesteps_step_alike(name: str, settings: Settings) -> None:
    sample, stepped = initial(torch.float32), []
    for scheduler in pair(name, settings):
        either: Any = scheduler
        either.set_timesteps(10)
        places = either.timesteps[[3, 9]]
        stepped.append(either.batch_step_no_noise(torch.tanh(sample), places, sample))
    assert distance(stepped[1], stepped[0]) < 1e-5


def test_aligned_schedules_are_the_same() -> None:
    import diffusers.schedulers

    assert dict(dpnb.schedulers.AysSchedules) == diffusers.schedulers.AysSchedules
