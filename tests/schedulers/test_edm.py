"""Laws of EDM's schedulers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb.schedulers
from dpnb.schedulers import EDMDPMSolverMultistepScheduler, EDMEulerScheduler

NAMES = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")


def build(name: str, **settings: Any) -> Any:
    return getattr(dpnb.schedulers, name)(**settings)


def fresh_sample() -> Tensor:
    return torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))


def output_for(scheduler: Any, original: Tensor, sample: Tensor, sigma: float) -> Tensor:
    """What a model gives that knows the original."""
    data = scheduler.config.sigma_data
    total = sigma**2 + data**2
    output: Tensor = (original - data**2 / total * sample) * total**0.5 / (sigma * data)
    return output


@pytest.mark.parametrize("schedule", ["karras", "exponential"])
@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_knows_the_original_leads_to_it(name: str, schedule: str) -> None:
    scheduler = build(name, sigma_schedule=schedule)
    scheduler.set_timesteps(12)
    original, noise = fresh_sample(), fresh_sample().flip(0)
    sample = scheduler.add_noise(original, noise, scheduler.timesteps[:1])
    for index, t in enumerate(scheduler.timesteps):
        output = output_for(scheduler, original, sample, float(scheduler.sigmas[index]))
        step = scheduler.step(output, t, sample)
        torch.testing.assert_close(step.pred_original_sample, original, rtol=1e-3, atol=1e-3)
        sample = step.prev_sample
    torch.testing.assert_close(sample, original, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_sees_unit_variance_and_log_sigma(name: str) -> None:
    scheduler = build(name, sigma_data=1.0)
    scheduler.set_timesteps(7)
    torch.testing.assert_close(scheduler.timesteps, 0.25 * scheduler.sigmas[:-1].log())
    sample, sigma = fresh_sample(), float(scheduler.sigmas[0])
    seen = scheduler.scale_model_input(sample, scheduler.timesteps[0])
    torch.testing.assert_close(seen, sample / (sigma**2 + 1) ** 0.5)
    torch.testing.assert_close(scheduler.precondition_inputs(sample, sigma), seen)
    assert scheduler.init_noise_sigma == pytest.approx((80.0**2 + 1) ** 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_saving_and_loading_keeps_the_configuration(name: str, tmp_path: Path) -> None:
    saved = build(name, sigma_max=40.0, rho=5.0)
    saved.save_pretrained(tmp_path)
    assert type(saved).from_pretrained(tmp_path).config == saved.config
    assert saved.compatibles == [type(saved)]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"sigma_schedule": "linear"}, "sigma_schedule is 'linear'; it must be one of"),
        ({"prediction_type": "sample"}, "prediction_type is 'sample'; it must be one of"),
        ({"final_sigmas_type": "one"}, "final_sigmas_type is 'one'"),
        ({"sigma_min": 90.0}, "sigma_min is 90.0 and sigma_max 80.0"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_settings_are_checked(name: str, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build(name, **settings)


def test_the_solvers_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="algorithm_type is 'dpmsolver'"):
        EDMDPMSolverMultistepScheduler(algorithm_type="dpmsolver")
    with pytest.raises(ValueError, match="solver_order is 3; sde-dpmsolver"):
        EDMDPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++", solver_order=3)
    assert EDMDPMSolverMultistepScheduler(solver_type="bh2").config.solver_type == "midpoint"


@pytest.mark.parametrize("shares", [[], [0.5, 0.2], [-0.1, 0.5], [0.5, 1.1]])
def test_shares_of_the_way_ascend(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="are no shares of the way from sigma_max to sigma_min"):
        EDMEulerScheduler().set_timesteps(sigmas=shares)


def test_a_run_is_asked_for_in_one_way() -> None:
    with pytest.raises(ValueError, match="num_inference_steps and sigmas"):
        EDMEulerScheduler().set_timesteps(5, sigmas=[0.0, 1.0])


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_steps_has_bounds(name: str) -> None:
    with pytest.raises(ValueError, match="num_inference_steps is 0; choose between 1 and"):
        build(name).set_timesteps(0)
