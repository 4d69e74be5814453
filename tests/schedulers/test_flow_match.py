from __future__ import annotations

from typing import Any

import pytest
import torch

from dpnb import (
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
)


def test_a_model_that_knows_the_flow_leads_to_the_original() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(5)
    original, noise = torch.randn(2, 1, 6, 4)
    sample = noise
    for t in scheduler.timesteps:
        sample = scheduler.step(noise - original, t, sample).prev_sample
    torch.testing.assert_close(sample, original)


def test_a_larger_shift_stays_longer_in_the_noise() -> None:
    runs = []
    for mu in (0.5, 1.15):
        scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
        scheduler.set_timesteps(5, mu=mu)
        runs.append(scheduler.timesteps)
    assert torch.all(runs[1][1:] > runs[0][1:])
    assert runs[0][0] == runs[1][0] == 1000


@pytest.mark.parametrize(
    ("settings", "run", "message"),
    [
        ({"use_dynamic_shifting": True}, {"num_inference_steps": 3}, "pass mu"),
        ({}, {}, "none at all"),
        ({}, {"num_inference_steps": 3, "sigmas": [1.0, 0.5]}, "of one length"),
        ({}, {"num_inference_steps": 0}, "choose between 1 and 1000"),
        ({}, {"sigmas": [0.5, 1.0]}, "must descend"),
        ({}, {"timesteps": [5.0, 9.0]}, "must descend"),
    ],
    ids=str,
)
def test_what_makes_no_schedule_is_refused(
    settings: dict[str, Any], run: dict[str, Any], message: str
) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(**settings)
    before = scheduler.timesteps
    with pytest.raises(ValueError, match=message):
        scheduler.set_timesteps(**run)
    assert scheduler.timesteps is before


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="time_shift_type is 'cubic'"):
        FlowMatchEulerDiscreteScheduler(time_shift_type="cubic")
    with pytest.raises(ValueError, match="sigmas have one spacing"):
        FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True, use_beta_sigmas=True)
    assert FlowMatchEulerDiscreteScheduler().compatibles == [FlowMatchEulerDiscreteScheduler]


def test_steps_are_counted_and_end() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler()
    sample = torch.randn(1, 3, 4)
    scheduler.step(sample, 1.0, sample)
    assert scheduler.step_index == 1000
    scheduler.set_timesteps(2)
    scheduler.set_begin_index(0)
    for t in scheduler.timesteps:
        scheduler.step(sample, t, sample)
    assert scheduler.step_index == 2
    with pytest.raises(ValueError, match="is over"):
        scheduler.step(sample, 1.0, sample)


def test_scale_factors_are_one_for_each_step_but_the_last() -> None:
    scheduler = FlowMatchLCMScheduler(scale_factors=[1.0, 2.0])
    scheduler.set_timesteps(4)
    sample = torch.zeros(1, 1, 4, 4)
    with pytest.raises(ValueError, match="There are 2 scale_factors for a run of 4 steps; give"):
        scheduler.step(sample, scheduler.timesteps[0], sample)
    scheduler.set_scale_factors(None, None)
    assert scheduler.step(sample, scheduler.timesteps[0], sample)[0].shape == sample.shape
    with pytest.raises(ValueError, match="upscale_mode is 'sharp'; it must be one of nearest"):
        FlowMatchLCMScheduler(upscale_mode="sharp")


def test_heun_is_exact_where_flows_change_evenly_with_time() -> None:
    """The integral of `2 · sigma` from 0 to 1; the last step, which is Euler's, ends at 0."""
    scheduler = FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(50)
    sample = torch.zeros(1)
    for t in scheduler.timesteps:
        sample = scheduler.step((2 * t / 1000).reshape(1), t, sample)[0]
    assert sample.item() == pytest.approx(-1.0, abs=1e-5)
