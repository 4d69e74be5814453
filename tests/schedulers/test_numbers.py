"""Schedulers take steps, timesteps and sigmas in every form that numpy and torch have."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb.schedulers
from dpnb.schedulers import Scheduler
from tests.forms import FORMS, NO_NUMBERS

pytestmark = pytest.mark.exhaustive

NAMES = (
    *dpnb.schedulers.INTERCHANGEABLE,
    "LCMScheduler",
    "TCDScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
)
TIMESTEPS, FRACTIONS = [900, 500, 101, 20], [900.5, 500.3, 101.0, 20.25]
SIGMAS = [0.9, 0.7, 0.3, 0.05]


def build(name: str) -> Scheduler:
    scheduler: Scheduler = getattr(dpnb.schedulers, name)()
    return scheduler


def accepted(name: str) -> list[dict[str, Any]]:
    """The ways to ask this class for a run."""
    runs: list[dict[str, Any]] = [{"num_inference_steps": 6}]
    if name == "FlowMatchHeunDiscreteScheduler":
        return runs
    if name in ("FlowMatchEulerDiscreteScheduler", "FlowMatchLCMScheduler"):
        return [*runs, {"sigmas": SIGMAS}, {"timesteps": FRACTIONS}, {"sigmas": SIGMAS, "mu": 0.3}]
    accepts = getattr(dpnb.schedulers, name).accepts
    if "timesteps" in accepts:
        runs += [{"timesteps": TIMESTEPS}, {"timesteps": FRACTIONS}]
    if "sigmas" in accepts:
        runs += [{"sigmas": SIGMAS}]
    if name in ("LCMScheduler", "TCDScheduler"):
        runs += [{"num_inference_steps": 4, "strength": 0.7, "original_inference_steps": 20}]
    return runs


CASES = [
    pytest.param(name, run, id=f"{name}-{list(run)}") for name in NAMES for run in accepted(name)
]


def state(scheduler: Scheduler) -> list[Any]:
    """The schedule, and a step of it."""
    sample = torch.randn(1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    t, generator = scheduler.timesteps[0], torch.Generator().manual_seed(1)
    seen = scheduler.scale_model_input(sample, t)
    step = scheduler.step(seen * 0.5, t, sample, generator=generator).prev_sample
    sigmas = vars(scheduler).get("sigmas", torch.zeros(1))
    return [scheduler.timesteps, sigmas, step, scheduler.num_inference_steps]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize(("name", "run"), CASES)
def test_a_schedule_is_the_same_in_every_form(
    name: str, run: dict[str, Any], form: Callable[[Any], Any]
) -> None:
    expected, given = build(name), build(name)
    expected.set_timesteps(**run)
    given.set_timesteps(**{key: form(value) for key, value in run.items()})
    for one, other in zip(state(expected), state(given), strict=True):
        if isinstance(one, Tensor):
            assert one.dtype == other.dtype
            assert torch.equal(one, other)
        else:
            assert (one, type(one)) == (other, type(other))


@pytest.mark.parametrize(("name", "run"), CASES)
def test_what_is_no_number_is_refused_and_changes_nothing(name: str, run: dict[str, Any]) -> None:
    scheduler = build(name)
    before = scheduler.timesteps
    for key, value in run.items():
        for wrong in NO_NUMBERS.values():
            given = [*value[:-1], wrong] if isinstance(value, list) else wrong
            with pytest.raises(
                (TypeError, ValueError), match=f"^(an entry of )?{key} is .*; it must be"
            ):
                scheduler.set_timesteps(**{**run, key: given})
            assert scheduler.timesteps is before
            assert scheduler.num_inference_steps is None


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler"])
def test_one_noise_level_makes_no_run(name: str) -> None:
    with pytest.raises(ValueError, match=r"sigmas \[1\.0\] make no schedule: .* Give at least two"):
        build(name).set_timesteps(sigmas=[1.0])
    with pytest.raises(ValueError, match=r"sigmas .* must descend, from below"):
        build(name).set_timesteps(sigmas=[1e39, 1.0, 0.0])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_numbers_of_a_step_may_have_any_form(form: Callable[[Any], Any]) -> None:
    sample = torch.randn(1, 4, 2, 2)
    cases: list[tuple[str, dict[str, Any]]] = [
        ("DDIMScheduler", {"eta": 0.3}),
        ("EulerDiscreteScheduler", {"s_churn": 0.3, "s_noise": 1.1}),
        ("LMSDiscreteScheduler", {"order": 2}),
    ]
    for name, numbers in cases:
        ends = []
        for given in (numbers, {key: form(value) for key, value in numbers.items()}):
            scheduler, generator = build(name), torch.Generator().manual_seed(1)
            scheduler.set_timesteps(form(4))
            scheduler.set_begin_index(form(1))
            t = scheduler.timesteps[1]
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                ends.append(scheduler.step(sample, t, sample, generator=generator, **given)[0])
        assert torch.equal(*ends)
