"""What scripts do with schedulers beside their runs."""

from __future__ import annotations

from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

import dpnb
import dpnb.schedulers

SHORT = np.array([0.1, 0.3])


def test_a_dictionary_of_settings_tells_which_are_defaults() -> None:
    settings = dict(dpnb.DDIMScheduler(beta_end=0.01).config)
    assert "timestep_spacing" in settings["_use_default_values"]
    euler = dpnb.EulerDiscreteScheduler.from_config(settings)
    assert (euler.config.timestep_spacing, euler.config.beta_end) == ("linspace", 0.01)
    assert "beta_end" not in euler.config["_use_default_values"]


def test_files_do_not_tell_which_settings_are_defaults(tmp_path: Path) -> None:
    scheduler = dpnb.DDIMScheduler()
    scheduler.save_pretrained(tmp_path)
    again = dpnb.DDIMScheduler.from_pretrained(tmp_path)
    assert "_use_default_values" not in again.config
    assert again.config == scheduler.config


@pytest.mark.parametrize("name", [*dpnb.schedulers.INTERCHANGEABLE, "SASolverScheduler"])
def test_too_few_betas_can_be_stored_and_no_run_begins(name: str, tmp_path: Path) -> None:
    kind = getattr(dpnb.schedulers, name)
    kind(trained_betas=SHORT).save_pretrained(tmp_path)
    scheduler = kind.from_pretrained(tmp_path)
    torch.testing.assert_close(scheduler.betas, torch.tensor([0.1, 0.3]))
    with pytest.raises(ValueError, match="trained_betas has 2 entries; give one for each"):
        scheduler.set_timesteps(2)


def test_no_step_is_made_with_too_few_betas() -> None:
    scheduler, x = dpnb.DDPMScheduler(trained_betas=SHORT), torch.ones(1, 1, 2, 2)
    with pytest.raises(ValueError, match="trained_betas has 2 entries; give one for each"):
        scheduler.step(x, 5, x)


@pytest.mark.parametrize(("t", "to"), [(0, 0), (420, 400), (999, 998), (19, -1)])
def test_variances_of_ddim_are_those_of_diffusers(t: int, to: int) -> None:
    ours, theirs = (lib.DDIMScheduler()._get_variance(t, to) for lib in (dpnb, diffusers))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["fixed_small", "fixed_small_log", "fixed_large", "learned"])
@pytest.mark.parametrize("t", [0, 487, 999])
def test_variances_of_ddpm_are_those_of_diffusers(kind: str, t: int) -> None:
    given = torch.tensor([0.2, 0.7]) if kind == "learned" else None
    ours, theirs = (
        lib.DDPMScheduler(variance_type=kind)._get_variance(t, given) for lib in (dpnb, diffusers)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_a_variance_of_another_kind_is_another_schedulers() -> None:
    with pytest.raises(ValueError, match="this scheduler was built for 'fixed_small'; build"):
        dpnb.DDPMScheduler()._get_variance(3, variance_type="fixed_large")


def test_the_last_steps_of_ddpm_are_those_of_diffusers() -> None:
    assert_same("DDPMScheduler", None, slice(-3, None))


def assert_same(name: str, steps: int | None, part: slice) -> None:
    """The samples of a part of a run are those of diffusers."""
    samples = []
    for library in (dpnb, diffusers):
        scheduler = getattr(library, name)()
        if steps is not None:
            scheduler.set_timesteps(steps)
        x, generator = torch.linspace(0, 1, 768).view(1, 3, 16, 16), torch.manual_seed(0)
        for t in scheduler.timesteps[part]:
            x = scheduler.step(x * t / (t + 1), t, x, generator=generator).prev_sample
        samples.append(x)
    torch.testing.assert_close(*samples, rtol=1e-5, atol=1e-5)


def test_last_outputs_of_pndm_can_be_given() -> None:
    samples: list[Tensor] = []
    for library in (dpnb, diffusers):
        scheduler = library.PNDMScheduler(skip_prk_steps=True)
        scheduler.set_timesteps(50)
        x = torch.linspace(0, 1, 48).view(1, 3, 4, 4)
        for t in scheduler.timesteps[:4]:
            x = scheduler.step(0.1 * x, t, x).prev_sample
        scheduler.ets = [0.1 * x + share for share in (0.2, 0.15, 0.1, 0.05)]
        samples.append(scheduler.step(0.1 * x, scheduler.timesteps[4], x).prev_sample)
        assert len(scheduler.ets) == 4
    torch.testing.assert_close(*samples)


@pytest.mark.parametrize("name", ["EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"])
def test_samples_are_scaled_before_a_run_is_set(name: str) -> None:
    scaled = []
    for library in (dpnb, diffusers):
        scheduler = getattr(library, name)()
        scaled.append(scheduler.scale_model_input(torch.ones(1, 3), scheduler.timesteps[-1]))
    torch.testing.assert_close(*scaled)


def test_noise_levels_of_a_run_that_keeps_the_last_can_be_given_again() -> None:
    scheduler = dpnb.EulerDiscreteScheduler(final_sigmas_type="sigma_min")
    scheduler.set_timesteps(5, timesteps=None)
    sigmas = scheduler.sigmas.tolist()
    sigmas[-1] = sigmas[-2]
    scheduler.set_timesteps(sigmas=sigmas)
    assert scheduler.sigmas.tolist() == sigmas


@pytest.mark.filterwarnings("ignore:__array__")
def test_timesteps_that_fall_together_are_no_steps() -> None:
    lengths = []
    for library in (dpnb, diffusers):
        scheduler = library.DPMSolverMultistepInverseScheduler()
        scheduler.set_timesteps(1000)
        lengths.append((len(scheduler.timesteps), scheduler.num_inference_steps))
    assert lengths[0] == lengths[1] == (999, 999)
