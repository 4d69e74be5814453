"""What a step brings from the host to a GPU, and that nothing waits for it: on fake tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import dpnb.schedulers
from dpnb.generators import randn
from dpnb.schedulers import DiffusionScheduler, FlowMatchEulerDiscreteScheduler, Scheduler

pytestmark = pytest.mark.exhaustive

NAMES = (*dpnb.schedulers.INTERCHANGEABLE, "LCMScheduler", "TCDScheduler")
APART = (
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "FlowMatchLCMScheduler",
    "DPMSolverMultistepInverseScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "IPNDMScheduler",
    "SASolverScheduler",
)
"""Those that serve other models, or other ends."""

STEPS = 6
GPU = torch.device("cuda:0")


class Uploads(TorchDispatchMode):
    """Counts the copies from the host to a GPU, and those among them that the host waits for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = self.waiting = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = [arg for arg in args if isinstance(arg, Tensor)]
        result = func(*args, **(kwargs or {}))
        copies = func is torch.ops.aten._to_copy.default
        if copies and result.device.type == "cuda" and given[0].device.type == "cpu":
            is_waited_for = not any(value is True for value in (*args, *(kwargs or {}).values()))
            self.count, self.waiting = self.count + 1, self.waiting + is_waited_for
        return result


def build(name: str, **settings: Any) -> Scheduler:
    scheduler: Scheduler = getattr(dpnb.schedulers, name)(**settings)
    return scheduler


def begun(scheduler: Scheduler) -> Tensor:
    """A run on the GPU, from its beginning."""
    scheduler.set_timesteps(STEPS, device=GPU)
    scheduler.set_begin_index(0)
    return torch.randn(2, 4, 4, 4, device=GPU)


STOCHASTIC = [
    ("DDPMScheduler", {}),
    ("EulerAncestralDiscreteScheduler", {}),
    ("LCMScheduler", {}),
    ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("EDMDPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("SASolverScheduler", {}),
    ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}),
    ("FlowMatchLCMScheduler", {}),
    ("KDPM2AncestralDiscreteScheduler", {}),
    ("TCDScheduler", {}),
]


def test_a_copy_that_waits_is_counted() -> None:
    with FakeTensorMode(), Uploads() as uploads:
        torch.randn(3).to(GPU)
        torch.randn(3).to(GPU, non_blocking=True)
    assert (uploads.count, uploads.waiting) == (2, 1)


@pytest.mark.parametrize(("name", "settings"), STOCHASTIC, ids=[name for name, _ in STOCHASTIC])
@pytest.mark.parametrize("pictures", [1, 2])
def test_noise_of_the_cpu_travels_and_nothing_waits(
    name: str, settings: dict[str, Any], pictures: int
) -> None:
    scheduler = build(name, **settings)
    generators = [torch.Generator() for _ in range(pictures)]
    with FakeTensorMode():
        sample = begun(scheduler)
        with Uploads() as uploads:
            for t in scheduler.timesteps:
                scheduler.scale_model_input(sample, t)
                sample = scheduler.step(sample, t, sample, generator=generators)[0]
    assert 0 < uploads.count <= pictures * STEPS
    assert uploads.waiting == 0
    assert sample.device == GPU


@pytest.mark.parametrize("name", [*NAMES, *APART])
def test_steps_bring_nothing_else_along(name: str) -> None:
    scheduler = build(name)
    with FakeTensorMode():
        sample = begun(scheduler)
        with Uploads() as uploads:
            for t in scheduler.timesteps:
                scheduler.scale_model_input(sample, t)
                sample = scheduler.step(sample, t, sample)[0]
    assert uploads.count == 0


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_laid_on_in_every_step_from_a_table_that_is_there(name: str) -> None:
    """As inpainting puts the picture back, and self-attention guidance what it has blurred."""
    scheduler = build(name)
    assert isinstance(scheduler, DiffusionScheduler)
    with FakeTensorMode():
        sample = begun(scheduler)
        first = scheduler.timesteps.narrow(0, 0, 1)
        scheduler.get_velocity(scheduler.add_noise(sample, sample, first), sample, first)
        with Uploads() as uploads:
            for index, t in enumerate(scheduler.timesteps):
                if not scheduler.timesteps.is_floating_point():
                    original, noise = scheduler.predict_original_and_noise(sample, sample, t)
                    scheduler.add_noise(original, noise, t.reshape(1))
                known = scheduler.step(sample, t, sample)[0]
                if index + 1 < len(scheduler.timesteps):
                    following = scheduler.timesteps.narrow(0, index + 1, 1)
                    known = scheduler.add_noise(known, sample, following)
                scheduler.get_velocity(known, sample, t.reshape(1))
    assert uploads.count == 0


def test_a_table_is_brought_once_in_a_run_and_is_the_same_afterwards() -> None:
    scheduler = build("DDIMScheduler")
    sample, noise = torch.randn(2, 2, 4, 4, 4).unbind()
    assert isinstance(scheduler, DiffusionScheduler)
    with FakeTensorMode():
        fake = begun(scheduler)
        for _ in range(3):
            with Uploads() as uploads:
                scheduler.add_noise(fake, fake, scheduler.timesteps.narrow(0, 1, 1))
        assert uploads.count == 0
    timesteps = torch.tensor([3, 700])
    expected = dpnb.schedulers.DDIMScheduler().add_noise(sample, noise, timesteps)
    assert torch.equal(scheduler.add_noise(sample, noise, timesteps), expected)


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_of_the_schedule_is_known_without_reading_it(name: str) -> None:
    scheduler, like = build(name), build(name)
    like.set_timesteps(STEPS)
    with FakeTensorMode():
        begun(scheduler)
        known = [scheduler.number_of_timestep(t) for t in scheduler.timesteps]
    assert known == like.timesteps.tolist()
    assert scheduler.number_of_timestep(torch.tensor(7)) == scheduler.number_of_timestep(7) == 7.0


def test_fake_noise_is_drawn_where_there_is_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeTensorMode(), Uploads() as uploads:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        drawn = randn((2, 3), generator=torch.Generator(), device=GPU)
    assert drawn.device == GPU
    assert (uploads.count, uploads.waiting) == (1, 0)


def test_the_numbers_stay_those_that_were_drawn_on_the_cpu() -> None:
    drawn = randn((2, 3), generator=torch.Generator().manual_seed(3), device="cpu")
    assert torch.equal(drawn, torch.randn(2, 3, generator=torch.Generator().manual_seed(3)))
    assert FlowMatchEulerDiscreteScheduler().timesteps.device.type == "cpu"
