"""Laws of DPM-Solver in reverse."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb.schedulers import DPMSolverMultistepInverseScheduler, DPMSolverMultistepScheduler


def test_a_run_there_and_one_back_end_where_they_began() -> None:
    """A model that always gives the same noise has a straight way."""
    shared: dict[str, Any] = {"beta_schedule": "scaled_linear", "use_karras_sigmas": True}
    there = DPMSolverMultistepInverseScheduler(**shared)
    back = DPMSolverMultistepScheduler(**shared, final_sigmas_type="sigma_min")
    generator = torch.Generator().manual_seed(0)
    original, noise = torch.randn(2, 1, 4, 4, 4, generator=generator)
    sample = original
    for scheduler in (there, back):
        scheduler.set_timesteps(20)
        for t in scheduler.timesteps:
            sample = scheduler.step(noise, t, sample).prev_sample
    torch.testing.assert_close(sample, original, rtol=1e-3, atol=1e-3)


def test_timesteps_ascend() -> None:
    scheduler = DPMSolverMultistepInverseScheduler()
    assert scheduler.timesteps[[0, -1]].tolist() == [0, 999]
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == sorted(set(scheduler.timesteps.tolist()))
    assert bool((scheduler.sigmas.diff() > 0).all())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"algorithm_type": "sde-dpmsolver++"}, "algorithm_type is 'sde-dpmsolver"),
        ({"use_flow_sigmas": True}, "no way from a picture to the noise of a flow"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DPMSolverMultistepInverseScheduler(**settings)
