from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb.schedulers import DDIMInverseScheduler, DDIMScheduler


def test_a_picture_goes_to_its_noise_and_back() -> None:
    """A model that says the same everywhere makes both directions exact."""
    settings: dict[str, Any] = {"beta_schedule": "scaled_linear", "clip_sample": False}
    there, back = DDIMInverseScheduler(**settings), DDIMScheduler(**settings)
    original, noise = torch.randn(2, 1, 4, 4, 4, generator=torch.manual_seed(0)).unbind()
    sample = original
    for scheduler in (there, back):
        scheduler.set_timesteps(20)
        for t in scheduler.timesteps:
            sample = scheduler.step(noise, t, sample).prev_sample
        if scheduler is there:
            known = there.add_noise(original, noise, there.timesteps[-1:])
            torch.testing.assert_close(sample, known, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sample, original, rtol=1e-3, atol=1e-3)


def test_timesteps_ascend() -> None:
    scheduler = DDIMInverseScheduler()
    assert scheduler.timesteps.tolist() == list(range(1000))
    for spacing in ("leading", "trailing", "linspace"):
        scheduler = DDIMInverseScheduler(timestep_spacing=spacing)
        scheduler.set_timesteps(7)
        assert torch.all(scheduler.timesteps.diff() > 0)


def test_a_clean_sample_says_nothing_of_its_noise() -> None:
    scheduler = DDIMInverseScheduler(prediction_type="sample")
    scheduler.set_timesteps(5)
    sample = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="cannot start without noise, as set_alpha_to_one asks;"):
        scheduler.step(sample, scheduler.timesteps[0], sample)
