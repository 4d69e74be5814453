"""Laws of SA-Solver."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from dpnb.schedulers import DPMSolverMultistepScheduler, SASolverScheduler


def run(scheduler: SASolverScheduler, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    sample = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        sample = scheduler.step(torch.tanh(sample), t, sample, generator=generator).prev_sample
    return sample


@pytest.mark.parametrize("algorithm", ["data_prediction", "noise_prediction"])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_without_noise_first_order_is_that_of_dpm_solver(algorithm: str, steps: int) -> None:
    shared: dict[str, Any] = {"beta_schedule": "scaled_linear"}
    ours = SASolverScheduler(
        tau_func=lambda t: 0, predictor_order=1, corrector_order=1, algorithm_type=algorithm
    )
    ours = SASolverScheduler.from_config(ours.config, **shared)
    name = "dpmsolver++" if algorithm == "data_prediction" else "dpmsolver"
    plain = DPMSolverMultistepScheduler(
        solver_order=1, algorithm_type=name, final_sigmas_type="sigma_min", **shared
    )
    ours.set_timesteps(steps)
    plain.set_timesteps(steps)
    sample = torch.randn(1, 4, 4, 4)
    step = ours.step(0.3 * sample, ours.timesteps[0], sample)
    expected = plain.step(0.3 * sample, plain.timesteps[0], sample)
    torch.testing.assert_close(step.prev_sample, expected.prev_sample)


def test_a_run_gives_the_same_twice() -> None:
    scheduler = SASolverScheduler()
    ends = []
    for seed in (1, 1, 2):
        scheduler.set_timesteps(6)
        ends.append(run(scheduler, seed))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_tau_is_asked_for_every_step() -> None:
    asked: list[float] = []

    def tau(timestep: float) -> float:
        asked.append(timestep)
        return 0.0

    scheduler = SASolverScheduler(tau_func=tau)
    scheduler.set_timesteps(5)
    run(scheduler)
    assert set(asked) == set(scheduler.timesteps.tolist())


def test_a_run_can_be_rehearsed_on_fake_tensors() -> None:
    scheduler = SASolverScheduler()
    with FakeTensorMode():
        scheduler.set_timesteps(6)
        scheduler.set_begin_index(0)
        sample = torch.randn(2, 4, 4, 4)
        for t in scheduler.timesteps:
            sample = scheduler.step(sample, t, sample).prev_sample
    assert sample.shape == (2, 4, 4, 4)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"predictor_order": 5}, "predictor_order is 5; choose between 1 and 4"),
        ({"corrector_order": 0}, "corrector_order is 0; choose between 1 and 4"),
        ({"algorithm_type": "dpmsolver++"}, "algorithm_type is 'dpmsolver"),
        ({"tau_func": 1.0}, "tau_func is 1.0; it must be a function of a timestep"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SASolverScheduler(**settings)
