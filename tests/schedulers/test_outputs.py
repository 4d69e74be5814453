"""What steps return has the forms of diffusers, and from the middle the same numbers."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

import dpnb
import dpnb.schedulers
from dpnb.schedulers.catalog import MODULES

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

NAMES = [name for name in MODULES if name.endswith("Scheduler") and name in dir(diffusers)]


def first_step(scheduler: Any, return_dict: bool) -> Any:
    scheduler.set_timesteps(5)
    t, sample = scheduler.timesteps[0], torch.ones(1, 4, 4, 4)
    if "scale_model_input" in dir(scheduler):
        scheduler.scale_model_input(sample, t)
    return scheduler.step(0.1 * sample, t, sample, return_dict=return_dict)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_returns_as_many_entries(name: str) -> None:
    ours, theirs = getattr(dpnb.schedulers, name), getattr(diffusers, name)
    assert len(first_step(ours(), False)) == len(first_step(theirs(), False))
    assert {*first_step(theirs(), True)} <= {*first_step(ours(), True)}


def test_latent_consistency_tells_what_is_denoised() -> None:
    step = first_step(dpnb.LCMScheduler(), True)
    assert list(step) == ["prev_sample", "denoised"]
    assert step.denoised is step["denoised"] is step[1]


@pytest.mark.parametrize("skips", [False, True])
@pytest.mark.parametrize("begin", [0, 4, 5, 13])
def test_a_pseudo_numerical_run_may_begin_anywhere(begin: int, skips: bool) -> None:
    samples: list[Tensor] = []
    for library in (dpnb, diffusers):
        scheduler = library.PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=skips)
        scheduler.set_timesteps(20)
        sample = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
        for t in scheduler.timesteps[begin:]:
            sample = scheduler.step(0.3 * sample.sin(), t, sample).prev_sample
        samples.append(sample)
    torch.testing.assert_close(*samples, rtol=1e-3, atol=1e-3)
