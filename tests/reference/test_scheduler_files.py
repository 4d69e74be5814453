"""Configurations and training helpers beside diffusers': the same keys, files and samples."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

import dpnb.schedulers
from tests.reference.scheduler_cases import (
    NAMES,
    OPTIONS,
    QUIET,
    Settings,
    distance,
    initial,
    pair,
    run,
)

pytestmark = [*QUIET, pytest.mark.exhaustive]


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_same(name: str) -> None:
    theirs, ours = pair(name, {})
    assert plain(ours.config) == plain(theirs.config)


@pytest.mark.parametrize(
    ("source", "target"),
    list(itertools.permutations([name for name in NAMES if name != "SASolverScheduler"], 2)),
)
def test_converting_there_and_back_keeps_the_same_settings(source: str, target: str) -> None:
    settings = {
        "beta_schedule": "scaled_linear",
        "timestep_spacing": "trailing",
        **next((option for option in OPTIONS[source] if "trained_betas" not in option), {}),
    }
    theirs, ours = pair(source, settings)
    for name in (target, source):
        theirs = getattr(diffusers, name).from_config(theirs.config)
        ours = getattr(dpnb.schedulers, name).from_config(ours.config)
        assert plain(ours.config) == plain(theirs.config)


@pytest.mark.parametrize("name", NAMES)
def test_files_that_diffusers_wrote_load_here(name: str, tmp_path: Path) -> None:
    theirs, _ = pair(name, {"beta_schedule": "scaled_linear", **OPTIONS[name][0]})
    theirs.save_pretrained(tmp_path / "scheduler")
    ours = getattr(dpnb.schedulers, name).from_pretrained(tmp_path, subfolder="scheduler")
    assert plain(ours.config) == plain(theirs.config)
    assert distance(run(ours, 6), run(theirs, 6)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_files_written_here_load_in_diffusers(name: str, tmp_path: Path) -> None:
    _, ours = pair(name, {"beta_schedule": "scaled_linear", **OPTIONS[name][0]})
    ours.save_pretrained(tmp_path)
    theirs = getattr(diffusers, name).from_pretrained(tmp_path)
    assert plain(ours.config) == plain(theirs.config)
    assert distance(run(ours, 6), run(theirs, 6)) < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_compatibles_are_ours_among_diffusers(name: str) -> None:
    theirs, ours = pair(name, {})
    expected = {cls.__name__ for cls in theirs.compatibles} & set(NAMES)
    assert {cls.__name__ for cls in ours.compatibles} == expected


STEP_FIRST = (
    "PNDMScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "UniPCMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DEISMultistepScheduler",
    "SASolverScheduler",
)
"""diffusers' have no timesteps, or sigmas in the wrong order, before `set_timesteps`."""


@pytest.mark.parametrize("is_laid_out", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_add_noise_gives_the_same_sample(name: str, is_laid_out: bool) -> None:
    theirs, ours = pair(name, {})
    if is_laid_out or name in STEP_FIRST:
        theirs.set_timesteps(12)
        ours.set_timesteps(12)
    timesteps = theirs.timesteps[[2, -3]]
    clean, noise = initial(torch.float32), initial(torch.float32).flip(0)
    expected = theirs.add_noise(clean, noise, timesteps)
    torch.testing.assert_close(
        ours.add_noise(clean, noise, timesteps), expected, rtol=3e-7, atol=1e-7
    )


@pytest.mark.parametrize("name", ["DDIMScheduler", "DDPMScheduler", "LCMScheduler"])
def test_velocities_are_the_same(name: str) -> None:
    theirs, ours = pair(name, {})
    timesteps = torch.tensor([17, 803])
    clean, noise = initial(torch.float32), initial(torch.float32).flip(0)
    expected = theirs.get_velocity(clean, noise, timesteps)
    assert torch.equal(ours.get_velocity(clean, noise, timesteps), expected)


def plain(config: Any) -> Settings:
    """The settings alone, as JSON would have them."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dict(config).items()
        if not key.startswith("_")
    }
