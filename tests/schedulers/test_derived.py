"""Tables, noise levels and timesteps that are changed or replaced count from then on."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

import dpnb.schedulers
from dpnb.schedulers.derived import derived_from

pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")

BY_TABLE = (
    "DDIMScheduler",
    "DDIMParallelScheduler",
    "DDIMInverseScheduler",
    "DDPMScheduler",
    "LCMScheduler",
    "PNDMScheduler",
    "TCDScheduler",
)
BY_LEVEL = (
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMEulerScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler",
    "SASolverScheduler",
    "UniPCMultistepScheduler",
)


def run(scheduler: Any, change: Callable[[Any], None] | None = None, begin: int = 0) -> Tensor:
    """A run of six steps, with the schedule changed before it."""
    scheduler.set_timesteps(6)
    if change is not None:
        change(scheduler)
    sample = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    for t in scheduler.timesteps[begin:]:
        seen = scheduler.scale_model_input(sample, t) if _scales(scheduler) else sample
        sample = scheduler.step(0.3 * seen.sin(), t, sample, return_dict=False)[0]
    return sample


def _scales(scheduler: Any) -> bool:
    return "scale_model_input" in dir(scheduler)


def lower_table(scheduler: Any) -> None:
    scheduler.alphas_cumprod = scheduler.alphas_cumprod * 0.9 + 1e-3


def lower_table_in_place(scheduler: Any) -> None:
    scheduler.alphas_cumprod[:] = scheduler.alphas_cumprod * 0.9 + 1e-3


def lower_levels(scheduler: Any) -> None:
    scheduler.sigmas = scheduler.sigmas * 0.7


def lower_levels_in_place(scheduler: Any) -> None:
    scheduler.sigmas[:] = scheduler.sigmas * 0.7


def begin_late(scheduler: Any) -> None:
    scheduler.timesteps = scheduler.timesteps[2:]
    if "sigmas" in vars(scheduler):
        scheduler.sigmas = scheduler.sigmas[2:]


@pytest.mark.parametrize("change", [lower_table, lower_table_in_place])
@pytest.mark.parametrize("name", BY_TABLE)
def test_another_table_counts(name: str, change: Callable[[Any], None]) -> None:
    ours, theirs = getattr(dpnb.schedulers, name)(), getattr(diffusers, name)()
    changed = run(ours, change)
    torch.testing.assert_close(changed, run(theirs, change), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(changed, run(type(ours)()), rtol=0.05)


@pytest.mark.parametrize("change", [lower_levels, lower_levels_in_place])
@pytest.mark.parametrize("name", BY_LEVEL)
def test_other_levels_count(name: str, change: Callable[[Any], None]) -> None:
    ours, theirs = getattr(dpnb.schedulers, name)(), getattr(diffusers, name)()
    changed = run(ours, change)
    torch.testing.assert_close(changed, run(theirs, change), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(changed, run(type(ours)()), rtol=0.05)


@pytest.mark.parametrize("name", ["LMSDiscreteScheduler", "KDPM2DiscreteScheduler"])
def test_solvers_of_several_levels_change_with_all_of_them(name: str) -> None:
    """Levels halfway and integrals are those of the changed levels; diffusers keeps the former."""
    first, second = getattr(dpnb.schedulers, name)(), getattr(dpnb.schedulers, name)()
    assert torch.equal(run(first, lower_levels), run(second, lower_levels_in_place))
    assert not torch.allclose(run(first), run(second, lower_levels), atol=1e-2)


@pytest.mark.parametrize("name", ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler"])
def test_a_table_changed_before_the_levels_are_laid_out_counts(name: str) -> None:
    samples = []
    for library in (dpnb, diffusers):
        scheduler = getattr(library, name)()
        lower_table(scheduler)
        samples.append(run(scheduler))
    torch.testing.assert_close(*samples, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", [*BY_TABLE[:4], "EulerDiscreteScheduler", "LMSDiscreteScheduler"])
def test_a_schedule_cut_short_is_one(name: str) -> None:
    ours, theirs = getattr(dpnb.schedulers, name)(), getattr(diffusers, name)()
    torch.testing.assert_close(run(ours, begin_late), run(theirs, begin_late), rtol=1e-3, atol=1e-3)


def test_another_table_counts_for_noise_too() -> None:
    samples = []
    for library in (dpnb, diffusers):
        scheduler = library.DDIMScheduler()
        clean, noise = torch.ones(2, 4, 4, 4), torch.full((2, 4, 4, 4), 2.0)
        scheduler.add_noise(clean, noise, torch.tensor([10, 500]))
        lower_table(scheduler)
        samples.append(scheduler.add_noise(clean, noise, torch.tensor([10, 500])))
    torch.testing.assert_close(*samples)


def test_the_end_of_a_run_and_its_first_noise_may_be_set() -> None:
    scheduler = dpnb.DDIMScheduler(set_alpha_to_one=False)
    assert not torch.equal(run(scheduler), run(dpnb.DDIMScheduler()))
    scheduler.final_alpha_cumprod = torch.tensor(1.0)
    assert torch.equal(run(scheduler), run(dpnb.DDIMScheduler()))
    scheduler.init_noise_sigma = 2.0
    assert scheduler.init_noise_sigma == 2.0
    euler = dpnb.EulerDiscreteScheduler()
    euler.init_noise_sigma = 3.0
    euler.set_timesteps(3)
    assert euler.init_noise_sigma == 3.0


class Doubled:
    """A table, and its double."""

    def __init__(self) -> None:
        self.table = torch.ones(2)
        self.computed = 0

    @derived_from("table")
    def double(self, table: Tensor) -> list[float]:
        self.computed += 1
        numbers: list[float] = (2 * table).tolist()
        return numbers


def test_it_is_computed_once_for_each_change() -> None:
    one = Doubled()
    assert one.double == one.double == [2.0, 2.0]
    one.table[0] = 3.0
    assert one.double == one.double == [6.0, 2.0]
    one.table = one.table[:1]
    assert one.double == one.double == [6.0]
    assert one.computed == 3


def test_what_is_known_is_not_computed() -> None:
    one = Doubled()
    one.double = [5.0]
    assert one.double == [5.0]
    assert one.computed == 0
    one.table += 1
    assert one.double == [4.0, 4.0]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_computed_anew(duplicate: Callable[[Doubled], Doubled]) -> None:
    one = Doubled()
    assert one.double == [2.0, 2.0]
    one.table[0] = 3.0
    other = duplicate(one)
    assert other.double == [6.0, 2.0]
    other.table[0] = 4.0
    assert (other.double, one.double) == ([8.0, 2.0], [6.0, 2.0])


def test_tensors_of_inference_mode_count_when_they_are_replaced() -> None:
    one = Doubled()
    with torch.inference_mode():
        one.table = torch.zeros(1)
        assert one.double == [0.0]
        one.table = one.table + 1
    assert one.double == [2.0]
