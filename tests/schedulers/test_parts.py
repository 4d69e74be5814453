"""What scripts read off schedulers and call on them, beside diffusers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import diffusers
import pytest
import torch

import dpnb
import dpnb.schedulers
from dpnb.schedulers import LCMScheduler, SchedulerOutput, TCDScheduler

LIBRARIES: tuple[Any, ...] = (dpnb, diffusers)


@pytest.mark.parametrize("table", ["alpha_t", "sigma_t", "lambda_t"])
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_tables_of_solvers_in_lambda(name: str, table: str) -> None:
    torch.testing.assert_close(*[getattr(getattr(lib, name)(), table) for lib in LIBRARIES])


@pytest.mark.parametrize("table", ["betas", "alphas"])
def test_tables_of_angles(table: str) -> None:
    read = []
    for library in LIBRARIES:
        scheduler = library.IPNDMScheduler()
        scheduler.set_timesteps(7)
        read.append(getattr(scheduler, table).float())
    torch.testing.assert_close(*read)


@pytest.mark.parametrize(
    "name",
    ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler"],
)
def test_levels_of_training_end_above_zero(name: str) -> None:
    torch.testing.assert_close(*[getattr(lib, name)(shift=3.0).sigmas for lib in LIBRARIES])


@pytest.mark.parametrize("kind", ["exponential", "linear"])
def test_levels_are_shifted(kind: str) -> None:
    levels = torch.tensor([1.0, 0.6, 0.2])
    moved, stretched = [], []
    for library in LIBRARIES:
        scheduler = library.FlowMatchEulerDiscreteScheduler(
            time_shift_type=kind, shift_terminal=0.1
        )
        moved.append(scheduler.time_shift(0.8, 1.5, levels))
        stretched.append(scheduler.stretch_shift_to_terminal(levels))
    torch.testing.assert_close(*moved)
    torch.testing.assert_close(*stretched)
    with pytest.raises(ValueError, match="shift_terminal is None, so that levels end anywhere"):
        dpnb.FlowMatchEulerDiscreteScheduler().stretch_shift_to_terminal(levels)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "HeunDiscreteScheduler"])
def test_the_place_of_a_timestep_in_any_schedule(name: str) -> None:
    scheduler, other = getattr(dpnb, name)(), getattr(dpnb, name)()
    scheduler.set_timesteps(5)
    other.set_timesteps(9)
    for t in other.timesteps.unique():
        assert scheduler.index_for_timestep(t, other.timesteps) == other.index_for_timestep(t)
        assert other.index_for_timestep(t, other.timesteps) == other.index_for_timestep(t)
    with pytest.raises(ValueError, match="is not a timestep of this run"):
        scheduler.index_for_timestep(0.5, other.timesteps)


@pytest.mark.parametrize(
    ("path", "name", "kind"),
    [
        ("scheduling_ddim", "DDIMSchedulerOutput", SchedulerOutput),
        ("scheduling_euler_discrete", "EulerDiscreteSchedulerOutput", SchedulerOutput),
        ("scheduling_lcm", "LCMSchedulerOutput", None),
        ("scheduling_tcd", "TCDSchedulerOutput", None),
    ],
)
def test_outputs_by_the_names_that_scripts_import(path: str, name: str, kind: Any) -> None:
    found = getattr(import_module(f"dpnb.schedulers.{path}"), name)
    own = {"LCMSchedulerOutput": LCMScheduler, "TCDSchedulerOutput": TCDScheduler}.get(name)
    if own is None:
        assert found is kind
        return
    scheduler, sample = own(), torch.ones(1, 4, 4, 4)
    scheduler.set_timesteps(2)
    assert type(scheduler.step(sample, scheduler.timesteps[0], sample)) is found
