"""DPM-Solver++ of the SDE, with the noise of a Brownian path."""

from __future__ import annotations

import math
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dpnb


class Path:
    """In place of torchsde's: what it gives depends on the ends alone."""

    def __init__(self, **given: Any) -> None:
        self.given = given

    def __call__(self, low: Tensor, high: Tensor) -> Tensor:
        assert self.given["t0"] <= low < high <= self.given["t1"] * (1 + 1e-6)
        generator = torch.Generator().manual_seed(self.given["entropy"])
        drawn = torch.randn(self.given["size"], generator=generator)
        return drawn * (high - low).sqrt() * (1 + low / high)


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Diffusers' scheduler; both draw from the same paths."""
    package = SimpleNamespace(BrownianInterval=Path, __spec__=None)
    monkeypatch.setitem(sys.modules, "torchsde", package)
    from diffusers.schedulers import scheduling_dpmsolver_sde as module

    monkeypatch.setattr(module, "torchsde", package, raising=False)
    return module.DPMSolverSDEScheduler


def draw(scheduler: Any) -> tuple[Tensor, Tensor]:
    """The first sample and the last one."""
    scheduler.set_timesteps(6)
    x = start = torch.linspace(-1, 1, 48).view(1, 3, 4, 4) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        given = scheduler.scale_model_input(x, t)
        x = scheduler.step(given.sin() * 0.7, t, x).prev_sample
    return start, x


@pytest.mark.filterwarnings("ignore:__array__")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"prediction_type": "v_prediction", "timestep_spacing": "leading"},
        {"beta_schedule": "scaled_linear", "timestep_spacing": "trailing"},
    ],
)
def test_samples_are_those_of_diffusers(settings: dict[str, Any], theirs: Any) -> None:
    ours = dpnb.DPMSolverSDEScheduler(noise_sampler_seed=3, **settings)
    other = theirs(noise_sampler_seed=3, **settings)
    for mine, wanted in zip(draw(ours), draw(other), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.sigmas, other.sigmas)
    torch.testing.assert_close(ours.timesteps.double(), other.timesteps, rtol=1e-4, atol=1e-3)


def test_levels_that_are_changed_are_those_of_the_run(theirs: Any) -> None:
    scheduler = dpnb.DPMSolverSDEScheduler(noise_sampler_seed=3)
    scheduler.set_timesteps(4)
    scheduler.sigmas = scheduler.sigmas.clone()
    first, second, *_ = scheduler.sigmas.tolist()
    assert math.isclose(scheduler._sigmas[1] ** 2, first * second, rel_tol=1e-5)


def test_it_takes_over_from_the_others() -> None:
    scheduler = dpnb.DPMSolverSDEScheduler.from_config(dpnb.DDIMScheduler(beta_end=0.01).config)
    assert scheduler.config.beta_end == 0.01
    assert {dpnb.DDIMScheduler, dpnb.DPMSolverSDEScheduler} <= {*scheduler.compatibles}
    assert np.isfinite(scheduler.timesteps.numpy()).all()
