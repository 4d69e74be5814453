from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb.schedulers import DDIMParallelScheduler, DDPMParallelScheduler

SETTINGS: list[dict[str, Any]] = [
    {},
    {"prediction_type": "v_prediction"},
    {"prediction_type": "sample"},
    {"thresholding": True, "sample_max_value": 1.5},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_ddim_steps_at_once_are_those_one_by_one(settings: dict[str, Any]) -> None:
    scheduler = DDIMParallelScheduler(set_alpha_to_one=False, **settings)
    scheduler.set_timesteps(5)
    sample = torch.randn(5, 4, 4, 4, generator=torch.manual_seed(0))
    for clips in (False, True):
        output, timesteps = torch.tanh(sample), scheduler.timesteps
        batch = scheduler.batch_step_no_noise(
            output, timesteps, sample, use_clipped_model_output=clips
        )
        for index, t in enumerate(timesteps):
            own = slice(index, index + 1)
            one = scheduler.step(output[own], t, sample[own], use_clipped_model_output=clips)
            torch.testing.assert_close(batch[own], one.prev_sample, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_ddpm_steps_at_once_are_those_one_by_one(settings: dict[str, Any]) -> None:
    scheduler = DDPMParallelScheduler(**settings)
    scheduler.set_timesteps(5)
    sample = torch.randn(5, 4, 4, 4, generator=torch.manual_seed(0))
    output, timesteps = torch.tanh(sample), scheduler.timesteps
    batch = scheduler.batch_step_no_noise(output, timesteps, sample)
    last = scheduler.step(output[4:], timesteps[4], sample[4:]).prev_sample
    torch.testing.assert_close(batch[4:], last, rtol=1e-4, atol=1e-5)
    half = scheduler.batch_step_no_noise(output.half(), timesteps, sample.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), batch, rtol=1e-2, atol=1e-2)


def test_steps_at_once_add_no_noise() -> None:
    scheduler = DDIMParallelScheduler()
    sample = torch.zeros(2, 1, 2, 2)
    with pytest.raises(ValueError, match="has no schedule yet"):
        scheduler.batch_step_no_noise(sample, torch.tensor([3, 1]), sample)
    scheduler.set_timesteps(4)
    with pytest.raises(ValueError, match=r"eta is 0\.5; steps without noise have eta 0"):
        scheduler.batch_step_no_noise(sample, torch.tensor([3, 1]), sample, eta=0.5)
