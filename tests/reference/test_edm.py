"""EDM's schedulers and iPNDM beside diffusers': the same schedules, steps and noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import dpnb.schedulers
from tests.reference.scheduler_cases import Settings, distance, initial, model, run, with_generator

SHARED: list[Settings] = [
    {},
    {"sigma_schedule": "exponential"},
    {"prediction_type": "v_prediction", "sigma_data": 1.0},
    {"sigma_min": 0.1, "sigma_max": 20.0, "rho": 5.0},
    {"final_sigmas_type": "sigma_min"},
]
SOLVERS: list[Settings] = [
    {"algorithm_type": algorithm, "solver_order": order, "solver_type": kind, **rest}
    for algorithm in ("dpmsolver++", "sde-dpmsolver++")
    for order, kind in ((1, "midpoint"), (2, "midpoint"), (2, "heun"), (3, "midpoint"))
    if (algorithm, order) != ("sde-dpmsolver++", 3)
    for rest in ({}, {"lower_order_final": False}, {"euler_at_final": True})
]
CASES = [
    *(("EDMEulerScheduler", settings) for settings in SHARED),
    *(("EDMDPMSolverMultistepScheduler", settings) for settings in [*SHARED, *SOLVERS]),
    ("EDMDPMSolverMultistepScheduler", {"thresholding": True, "sample_max_value": 1.5}),
    ("IPNDMScheduler", {}),
    ("IPNDMScheduler", {"trained_betas": [1.0, 0.9, 0.7, 0.6, 0.4, 0.3, 0.1, 0.0]}),
]
NAMES = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler", "IPNDMScheduler")

TABLES = ("sigmas", "alphas", "betas")

LIMIT = 2e-6
"""diffusers computes these schedules in single precision, ours is right to one place of it."""


def pair(name: str, settings: Settings) -> tuple[Any, Any]:
    theirs, ours = getattr(diffusers, name), getattr(dpnb.schedulers, name)
    return theirs(**settings), ours(**settings)


@pytest.mark.parametrize("steps", [1, 4, 18])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_each_step_solves_the_same_equation(
    name: str, settings: Settings, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In double precision, along diffusers' path; some of its runs of one step do not move."""
    if steps == 1 and "exponential" in settings.values():
        steps = 2
    if (steps, name) == (1, "EDMEulerScheduler") and "sigma_min" in settings.values():
        steps = 2
    theirs, ours = pair(name, settings)
    theirs.set_timesteps(steps)
    ours.set_timesteps(steps)
    torch.testing.assert_close(ours.timesteps, theirs.timesteps, rtol=2e-6, atol=2e-6)
    assert ours.init_noise_sigma == pytest.approx(theirs.init_noise_sigma)
    for table in set(TABLES) & set(vars(theirs)):
        setattr(theirs, table, getattr(theirs, table).double())
    sample = initial(torch.float64) * theirs.init_noise_sigma
    noises = with_generator(theirs, 1), with_generator(ours, 1)
    monkeypatch.setattr(torch, "float32", torch.float64)
    for t, u in zip(theirs.timesteps, ours.timesteps, strict=True):
        seen = theirs.scale_model_input(sample, t)
        assert distance(ours.scale_model_input(sample, u), seen) < LIMIT
        output = model(seen, t)
        expected = theirs.step(output, t, sample, **noises[0]).prev_sample
        given = ours.step(output, u, sample, **(noises[1] if noises[0] else {})).prev_sample
        assert distance(given, expected, sample) < LIMIT
        sample = expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_runs_stay_close_and_keep_their_dtype(name: str, dtype: torch.dtype) -> None:
    theirs, ours = pair(name, {})
    theirs.set_timesteps(8)
    ours.set_timesteps(8)
    sample = (initial(torch.float32) * theirs.init_noise_sigma).to(dtype)
    for t, u in zip(theirs.timesteps, ours.timesteps, strict=True):
        output = model(theirs.scale_model_input(sample, t), t)
        ours.scale_model_input(sample, u)
        expected = theirs.step(output, t, sample).prev_sample
        given = ours.step(output, u, sample).prev_sample
        assert given.dtype == expected.dtype == dtype
        limit = 8 * torch.finfo(dtype).eps
        assert distance(given.float(), expected.float(), sample.float()) < limit
        sample = expected


def test_euler_stirs_in_the_same_noise() -> None:
    theirs, ours = pair("EDMEulerScheduler", {})
    churn = {"s_churn": 5.0, "s_tmin": 0.1, "s_tmax": 40.0, "s_noise": 1.01}
    assert distance(run(ours, 12, **churn), run(theirs, 12, **churn)) < 1e-5


def test_a_predicted_original_that_is_given_is_taken() -> None:
    ends = []
    for scheduler in pair("EDMEulerScheduler", {}):
        scheduler.set_timesteps(5)
        sample = initial(torch.float32) * scheduler.init_noise_sigma
        t = scheduler.timesteps[0]
        scheduler.scale_model_input(sample, t)
        ends.append(scheduler.step(sample, t, sample, pred_original_sample=sample.flip(0)))
    assert distance(ends[1].prev_sample, ends[0].prev_sample) < 1e-6


@pytest.mark.parametrize("schedule", ["karras", "exponential"])
def test_shares_of_the_way_make_the_same_schedule(schedule: str) -> None:
    theirs, ours = pair("EDMEulerScheduler", {"sigma_schedule": schedule})
    shares = torch.tensor([0.0, 0.1, 0.5, 0.8, 1.0])
    theirs.set_timesteps(sigmas=shares)
    ours.set_timesteps(sigmas=shares)
    torch.testing.assert_close(ours.sigmas, theirs.sigmas)


@pytest.mark.parametrize("name", NAMES)
def test_files_pass_between_both(name: str, tmp_path: Path) -> None:
    theirs, ours = pair(name, {"num_train_timesteps": 500})
    theirs.save_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    for config in (
        type(ours).from_pretrained(tmp_path / "theirs").config,
        type(theirs).from_pretrained(tmp_path / "ours").config,
        ours.config,
    ):
        plain = {key: value for key, value in dict(config).items() if key[0] != "_"}
        assert plain == {k: v for k, v in dict(theirs.config).items() if k[0] != "_"}


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
def test_add_noise_gives_the_same_sample(name: str) -> None:
    clean, noise = initial(torch.float32), initial(torch.float32).flip(0)
    noisy = []
    for scheduler in pair(name, {}):
        scheduler.set_timesteps(12)
        noisy.append(scheduler.add_noise(clean, noise, scheduler.timesteps[[2, -3]]))
    torch.testing.assert_close(noisy[1], noisy[0])


@pytest.mark.parametrize("name", NAMES)
def test_runs_that_begin_midway_end_alike(name: str) -> None:
    ends = []
    for scheduler in pair(name, {}):
        scheduler.set_timesteps(10)
        scheduler.set_begin_index(4)
        sample = initial(torch.float32)
        for t in scheduler.timesteps[4:]:
            output = model(scheduler.scale_model_input(sample, t), t)
            sample = scheduler.step(output, t, sample, return_dict=False)[0]
        ends.append(sample)
    assert distance(ends[1], ends[0]) < 1e-5
