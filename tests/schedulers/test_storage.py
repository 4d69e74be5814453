"""Schedulers in files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import dpnb
import dpnb.schedulers
from dpnb.errors import SettingsError
from tests.hub_server import HubServer

WITH_VARIANCE = (
    "DPMSolverMultistepScheduler",
    "DPMSolverMultistepInverseScheduler",
    "DPMSolverSinglestepScheduler",
    "SASolverScheduler",
)


@pytest.mark.parametrize("name", ["DDPMScheduler", "DDPMParallelScheduler"])
@pytest.mark.parametrize("other", WITH_VARIANCE)
def test_a_variance_that_a_solver_has_not_is_the_small_one(
    name: str, other: str, tmp_path: Path
) -> None:
    getattr(dpnb.schedulers, other)().save_pretrained(tmp_path)
    loaded = getattr(dpnb.schedulers, name).from_pretrained(tmp_path)
    assert loaded.config.variance_type is None
    assert loaded._std(0.25, 0.5, None) == dpnb.DDPMScheduler()._std(0.25, 0.5, None) == 0.5


def test_the_argument_is_at_fault_and_not_the_file(tmp_path: Path) -> None:
    dpnb.DDIMScheduler().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"^beta_end is 8; it must be"):
        dpnb.DDIMScheduler.from_pretrained(tmp_path, beta_end=8)
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({"beta_end": 8}))
    further: Any
    for further in ({}, {"beta_start": 0.1}):
        with pytest.raises(SettingsError, match=r"scheduler_config\.json holds settings that"):
            dpnb.DDIMScheduler.from_pretrained(tmp_path, **further)


def test_a_scheduler_is_uploaded(hub: HubServer, tmp_path: Path) -> None:
    scheduler = dpnb.DDIMScheduler(beta_start=0.002)
    scheduler.push_to_hub("someone/scheduler", token="any")
    folder = tmp_path / "saved"
    scheduler.save_pretrained(
        save_directory=folder, push_to_hub=True, repo_id="someone/other", token="any"
    )
    assert (folder / "scheduler_config.json").exists()
    for name in ("someone/scheduler", "someone/other"):
        again = dpnb.DDIMScheduler.from_pretrained(name, cache_dir=tmp_path / "cache")
        assert again.config == scheduler.config


def test_settings_by_themselves_are_not_uploaded(tmp_path: Path) -> None:
    dpnb.DDIMScheduler().save_config(save_directory=tmp_path, push_to_hub=False)
    with pytest.raises(ValueError, match="by themselves are not uploaded; push its pipeline"):
        dpnb.DDIMScheduler().save_config(tmp_path, push_to_hub=True)


@pytest.mark.parametrize("name", ["DDIMScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_settings_are_read_off_the_scheduler(name: str) -> None:
    scheduler: Any = getattr(dpnb.schedulers, name)(num_train_timesteps=7)
    with pytest.warns(FutureWarning, match=r"read it as config\.num_train_timesteps"):
        assert scheduler.num_train_timesteps == 7
    with pytest.raises(AttributeError, match=f"'{name}' object has no attribute 'nothing'"):
        _ = scheduler.nothing
