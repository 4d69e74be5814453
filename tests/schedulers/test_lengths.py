"""Runs of any length, and loops of one's own over what their schedules hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dpnb.schedulers
from dpnb.pipelines.denoise import move_run_to
from dpnb.schedulers import FlowMatchEulerDiscreteScheduler, Scheduler

pytestmark = pytest.mark.exhaustive

NAMES = (*dpnb.schedulers.INTERCHANGEABLE, "LCMScheduler", "TCDScheduler")
SPACINGS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")


def build(name: str, **settings: Any) -> Scheduler:
    scheduler: Scheduler = getattr(dpnb.schedulers, name)(**settings)
    return scheduler


def fresh() -> Tensor:
    return torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))


def run(scheduler: Scheduler, told: Callable[[Tensor], Any]) -> Tensor:
    """A loop that gives each step what `told` makes of the timestep."""
    generator, sample = torch.Generator().manual_seed(1), fresh()
    for t in scheduler.timesteps:
        output = torch.tanh(scheduler.scale_model_input(sample, told(t)))
        sample = scheduler.step(output, told(t), sample, generator=generator).prev_sample
    return sample


@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "LMSDiscreteScheduler"]
)
def test_an_offset_leaves_room_for_every_step_of_training(name: str) -> None:
    scheduler = build(name, timestep_spacing="leading", steps_offset=1, num_train_timesteps=40)
    scheduler.set_timesteps(40)
    timesteps = sorted({int(t) for t in scheduler.timesteps}, reverse=True)
    first = 40 if name == "LMSDiscreteScheduler" else 39
    assert timesteps == list(range(first, first - 40, -1))
    assert run(scheduler, lambda t: t).isfinite().all()


def test_a_larger_offset_is_kept_as_far_as_there_is_room() -> None:
    scheduler = build("DDIMScheduler", steps_offset=3, num_train_timesteps=40)
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[[0, -1]].tolist() == [39, 1]
    scheduler.set_timesteps(10)
    assert scheduler.timesteps[[0, -1]].tolist() == [39, 3]


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_solvers_visit_every_step_of_training_too(name: str) -> None:
    scheduler = build(name, timestep_spacing="leading", steps_offset=1, num_train_timesteps=40)
    scheduler.set_timesteps(40)
    assert scheduler.timesteps.tolist() == list(range(39, -1, -1))


def test_more_steps_than_a_clipped_schedule_holds_are_refused() -> None:
    scheduler = build(
        "DPMSolverMultistepScheduler", timestep_spacing="leading", lambda_min_clipped=-4.0
    )
    with pytest.raises(ValueError, match=r"num_inference_steps is 990, but lambda_min_clipped"):
        scheduler.set_timesteps(990)
    assert scheduler.num_inference_steps is None


@pytest.mark.parametrize("name", ["LMSDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"])
def test_what_lies_between_steps_of_training_has_bounds_too(name: str) -> None:
    scheduler = build(name, num_train_timesteps=30)
    scheduler.set_timesteps(31)
    assert len(set(scheduler.timesteps.tolist())) == 31
    with pytest.raises(ValueError, match="is 301; choose between 1 and 300, 10 times the number"):
        scheduler.set_timesteps(301)


@pytest.mark.parametrize("steps", [1, 2, 30, 31])
@pytest.mark.parametrize("spacing", [None, *SPACINGS[:3]])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shift": 3.0},
        {"shift_terminal": 0.1},
        {"shift": 3.0, "shift_terminal": 0.02},
        {"use_dynamic_shifting": True, "shift_terminal": 0.1},
        {"use_dynamic_shifting": True, "time_shift_type": "linear", "shift_terminal": 0.1},
        {"invert_sigmas": True, "shift_terminal": 0.1},
        {"stochastic_sampling": True, "shift_terminal": 0.1},
    ],
    ids=str,
)
def test_every_flow_is_finite(settings: dict[str, Any], spacing: str | None, steps: int) -> None:
    spaced = {} if spacing is None else {spacing: True}
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=30, **spaced, **settings)
    mu = 0.8 if settings.get("use_dynamic_shifting") else None
    for asked in ({"num_inference_steps": steps}, {"sigmas": np.linspace(1, 1 / steps, steps)}):
        scheduler.set_timesteps(**asked, mu=mu)
        assert scheduler.sigmas.isfinite().all()
        assert scheduler.timesteps.isfinite().all()
        assert run(scheduler, lambda t: t).isfinite().all()


def test_a_flow_of_one_step_leads_all_the_way() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(shift_terminal=0.1)
    scheduler.set_timesteps(1)
    original, noise = torch.randn(2, 1, 6, 4)
    sample = scheduler.step(noise - original, scheduler.timesteps[0], noise).prev_sample
    torch.testing.assert_close(sample, original)


def test_exponential_noise_levels_do_not_reach_zero() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(use_exponential_sigmas=True)
    with pytest.raises(ValueError, match=r"cannot end at 0\.0; let the last one be above 0"):
        scheduler.set_timesteps(sigmas=[1.0, 0.5, 0.0])


def repeating() -> list[Any]:
    """Every class with every way to space its schedule, at betas that let timesteps repeat."""
    return [
        pytest.param(name, settings, id=f"{name}-{list(settings)}")
        for name in NAMES
        for settings in ({}, *({spacing: True} for spacing in SPACINGS))
        if set(settings) <= set(getattr(dpnb.schedulers, name).config_class.names())
    ]


@pytest.mark.parametrize("algorithm", ["dpmsolver++", "sde-dpmsolver++"])
@pytest.mark.parametrize(("name", "settings"), repeating())
def test_a_loop_may_tell_timesteps_as_numbers_where_they_repeat(
    name: str, settings: dict[str, Any], algorithm: str
) -> None:
    if name == "DPMSolverMultistepScheduler":
        settings = {**settings, "algorithm_type": algorithm}
    for steps in (1, 2, 7, 20):
        scheduler = build(name, beta_schedule="squaredcos_cap_v2", **settings)
        if scheduler.config.get("skip_prk_steps") is False and steps < 4:
            continue
        scheduler.set_timesteps(steps)
        expected = run(scheduler, lambda t: t)
        for told in (float, Tensor.clone, Tensor.numpy, Tensor.item):
            scheduler.set_timesteps(steps)
            assert torch.equal(run(scheduler, told), expected)
        if not scheduler.timesteps.is_floating_point():
            scheduler.set_timesteps(steps)
            assert torch.equal(run(scheduler, int), expected)


@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"])
def test_timesteps_do_repeat_at_the_beginning(name: str) -> None:
    scheduler = build(name, beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True)
    scheduler.set_timesteps(20)
    assert scheduler.timesteps[0] == scheduler.timesteps[1]
    assert scheduler.index_for_timestep(scheduler.timesteps[0].item()) == 0


@pytest.mark.parametrize("name", [*NAMES, "FlowMatchEulerDiscreteScheduler"])
def test_what_a_run_remembers_moves_with_it(name: str) -> None:
    scheduler = build(name)
    scheduler.set_timesteps(12)
    scheduler.set_begin_index(0)
    sample, place = fresh(), torch.device("cpu")
    for index, t in enumerate(scheduler.timesteps):
        if index == 5:
            tensors, place = {"latents": sample}, torch.device("meta")
            move_run_to(place, tensors, scheduler)
            sample = tensors["latents"]
        sample = scheduler.step(sample * 0.5, t.to(place), sample).prev_sample
    assert sample.device == place
