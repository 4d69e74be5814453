"""The flow-matching scheduler beside diffusers'."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import dpnb

SETTINGS: list[dict[str, Any]] = [
    {},
    {"shift": 3.0},
    {"use_dynamic_shifting": True},
    {"use_dynamic_shifting": True, "time_shift_type": "linear"},
    {"shift": 2.0, "shift_terminal": 0.1},
    {"use_karras_sigmas": True},
    {"use_exponential_sigmas": True},
    {"use_beta_sigmas": True},
    {"invert_sigmas": True},
    {"shift": 3.0, "stochastic_sampling": True},
]

RUNS: list[dict[str, Any]] = [
    {"num_inference_steps": 5},
    {"sigmas": [1.0, 0.7, 0.3]},
    {"num_inference_steps": 3, "sigmas": [0.9, 0.5, 0.2]},
    {"timesteps": [900.0, 500.0, 20.0], "sigmas": [1.0, 0.7, 0.3]},
]


def pair(**settings: Any) -> tuple[dpnb.FlowMatchEulerDiscreteScheduler, Any]:
    return (
        dpnb.FlowMatchEulerDiscreteScheduler(**settings),
        diffusers.FlowMatchEulerDiscreteScheduler(**settings),
    )


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_every_run_is_the_same(settings: dict[str, Any]) -> None:
    for run in RUNS:
        mu = 0.8 if settings.get("use_dynamic_shifting") else None
        results = []
        for scheduler in pair(**settings):
            scheduler.set_timesteps(**run, mu=mu)
            sample = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
            generator = torch.Generator().manual_seed(1)
            for t in scheduler.timesteps:
                flow = torch.tanh(sample + t / 1000)
                sample = scheduler.step(flow, t, sample, generator=generator)[0]
            results.append((scheduler.timesteps, scheduler.sigmas, sample))
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_noise_is_laid_on_the_same() -> None:
    ours, theirs = pair(shift=3.0)
    sample, noise = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(6)
    places = theirs.timesteps[[1, 4]]
    expected = theirs.scale_noise(sample, places, noise)
    torch.testing.assert_close(ours.scale_noise(sample, places, noise), expected)
    assert torch.equal(
        ours.add_noise(sample, noise, places), ours.scale_noise(sample, places, noise)
    )
    assert ours.shift == theirs.shift
    for scheduler in (ours, theirs):
        scheduler.set_shift(2.0)
        scheduler.set_timesteps(6)
    torch.testing.assert_close(ours.timesteps, theirs.timesteps)


def test_before_a_run_all_of_training_is_there() -> None:
    ours, theirs = pair(shift=3.0)
    torch.testing.assert_close(ours.timesteps, theirs.timesteps)
    assert (ours.sigma_min, ours.sigma_max) == pytest.approx((theirs.sigma_min, theirs.sigma_max))


def test_each_reads_what_the_other_wrote(tmp_path: Path) -> None:
    ours, theirs = pair(shift=3.0, use_dynamic_shifting=True, max_shift=1.2)
    theirs.save_pretrained(tmp_path / "theirs")
    ours.save_pretrained(tmp_path / "ours")
    again = dpnb.FlowMatchEulerDiscreteScheduler.from_pretrained(tmp_path / "theirs")
    other = diffusers.FlowMatchEulerDiscreteScheduler.from_pretrained(tmp_path / "ours")
    known = {key: value for key, value in theirs.config.items() if not key.startswith("_")}
    assert again.config == known
    assert {key: other.config[key] for key in known} == known


@pytest.mark.parametrize("tokens", [16, 256, 4096, 9000])
def test_the_shift_of_a_size_is_the_same(tokens: int) -> None:
    from diffusers.pipelines.flux.pipeline_flux import calculate_shift

    ours = dpnb.FlowMatchEulerDiscreteScheduler()
    assert ours.config.mu_for(tokens) == pytest.approx(calculate_shift(tokens), rel=1e-12)


def run_both(name: str, run: dict[str, Any], settings: dict[str, Any], **arguments: Any) -> None:
    """Compare schedules, sigmas and ends of a run of two samples of 4 × 4.

    diffusers' Heun takes what a small sigma changes of a sample, and divides it by that sigma.
    """
    rounding = 2e-4 if "Heun" in name else 2e-6
    results = []
    for library in (dpnb, diffusers):
        scheduler = getattr(library, name)(**settings)
        scheduler.set_timesteps(**run)
        sample = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
        generator = torch.Generator().manual_seed(1)
        for t in scheduler.timesteps:
            flow = torch.tanh(sample + t / 1000)
            sample = scheduler.step(flow, t, sample, generator=generator, **arguments)[0]
        results.append((scheduler.timesteps, scheduler.sigmas, sample))
    *schedules, ends = zip(*results, strict=True)
    for ours, theirs in schedules:
        torch.testing.assert_close(ours, theirs, rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(*ends, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("steps", [1, 2, 5, 30])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_heun_runs_are_the_same(shift: float, steps: int) -> None:
    run_both("FlowMatchHeunDiscreteScheduler", {"num_inference_steps": steps}, {"shift": shift})


def test_heun_stirs_in_the_same_noise() -> None:
    run_both("FlowMatchHeunDiscreteScheduler", {"num_inference_steps": 1}, {}, s_churn=0.5)


@pytest.mark.parametrize("settings", SETTINGS[:-1], ids=str)
@pytest.mark.parametrize("run", RUNS, ids=str)
def test_lcm_runs_are_the_same(run: dict[str, Any], settings: dict[str, Any]) -> None:
    mu = {"mu": 0.8} if settings.get("use_dynamic_shifting") else {}
    run_both("FlowMatchLCMScheduler", run | mu, settings)


@pytest.mark.parametrize("mode", ["bicubic", "nearest", "area"])
def test_lcm_samples_grow_alike(mode: str) -> None:
    settings = {"scale_factors": [1.5, 2.0], "upscale_mode": mode}
    run_both("FlowMatchLCMScheduler", {"num_inference_steps": 3}, settings)


@pytest.mark.parametrize("settings", [{}, {"shift": 3.0, "stochastic_sampling": True}], ids=str)
def test_tokens_have_timesteps_of_their_own(settings: dict[str, Any]) -> None:
    stepped = []
    for scheduler in pair(**settings):
        scheduler.set_timesteps(5)
        sample = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0))
        places = scheduler.timesteps[[0, 1, 2, 3, 4]].expand(2, 5)
        generator = torch.Generator().manual_seed(1)
        arguments: Any = {"generator": generator, "per_token_timesteps": places}
        stepped.append(scheduler.step(0.1 * sample, scheduler.timesteps[0], sample, **arguments)[0])
    torch.testing.assert_close(*stepped, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler"])
def test_other_flows_have_the_same_settings_and_files(name: str, tmp_path: Path) -> None:
    ours, theirs = (getattr(library, name)(shift=3.0) for library in (dpnb, diffusers))
    torch.testing.assert_close(ours.timesteps, theirs.timesteps)
    known = {key: value for key, value in theirs.config.items() if not key.startswith("_")}
    assert ours.config == known
    ours.save_pretrained(tmp_path)
    other = getattr(diffusers, name).from_pretrained(tmp_path)
    assert {key: other.config[key] for key in known} == known
