"""Laws of iPNDM."""

from __future__ import annotations

import math

import pytest
import torch

from dpnb.schedulers import IPNDMScheduler


def test_a_model_that_knows_the_original_leads_to_it() -> None:
    """Where the noise is known each step is exact, and the last angle is 0."""
    scheduler = IPNDMScheduler()
    scheduler.set_timesteps(20)
    generator = torch.Generator().manual_seed(0)
    original, noise = torch.randn(2, 2, 4, 4, 4, generator=generator)
    sample = noise
    for t in scheduler.timesteps:
        angle = float(t) * math.pi / 2
        velocity = math.cos(angle) * noise - math.sin(angle) * original
        sample = scheduler.step(velocity, t, sample).prev_sample
        if angle > 1.5:
            sample = sample + math.cos(float(scheduler.timesteps[1]) * math.pi / 2) * original
    torch.testing.assert_close(sample, original, rtol=1e-3, atol=1e-3)


def test_timesteps_are_angles_that_descend() -> None:
    scheduler = IPNDMScheduler()
    assert len(scheduler.timesteps) == 1000
    scheduler.set_timesteps(7)
    assert float(scheduler.timesteps[0]) == 1.0
    assert bool((scheduler.timesteps.diff() < 0).all())


def test_the_number_of_steps_has_bounds() -> None:
    with pytest.raises(ValueError, match="num_inference_steps is 0; choose between 1 and"):
        IPNDMScheduler().set_timesteps(0)
