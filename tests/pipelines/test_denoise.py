from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import dpnb
from dpnb.pipelines.denoise import move_run_to
from dpnb.schedulers.derived import Known
from tests.strategies.pipes import build, draw

ELSEWHERE = torch.device("meta")
"""A device that every machine has; it holds no values."""


def test_a_run_follows_the_networks_to_another_device() -> None:
    pipe = build("tiny-sd")
    pipe.scheduler = dpnb.DPMSolverMultistepScheduler.from_config(pipe.scheduler.config)
    states: list[dict[str, Any]] = []

    def look(pipe: Any, index: int, t: Tensor, tensors: dict[str, Tensor]) -> None:
        states.append(dict(vars(pipe.scheduler)))

    draw(pipe, steps=4, callback_on_step_end=look)
    vars(pipe.scheduler).update(states[2])
    before = states[2]
    tensors = {"latents": torch.ones(1, 4, 4, 4), "prompt_embeds": torch.ones(1, 7, 8)}
    move_run_to(ELSEWHERE, tensors, pipe.scheduler)
    assert {tensor.device for tensor in tensors.values()} == {ELSEWHERE}
    after = vars(pipe.scheduler)
    moved = [tensor for value in after.values() for tensor in flat(value)]
    assert len(moved) > 3
    assert {tensor.device for tensor in moved} == {ELSEWHERE}
    assert kept(after) == kept(before)
    derived = [(known, before[name]) for name, known in after.items() if isinstance(known, Known)]
    assert all(now.value is former.value and now.is_current for now, former in derived)
    assert {now.source.device for now, _ in derived} == {ELSEWHERE}


def kept(state: dict[str, Any]) -> dict[str, Any]:
    """What holds no tensor."""
    return {k: v for k, v in state.items() if not flat(v) and not isinstance(v, Known)}


def flat(value: Any) -> list[Tensor]:
    """The tensors in a value and in a list."""
    return [
        item for item in (value if isinstance(value, list) else [value]) if isinstance(item, Tensor)
    ]


def test_a_run_that_stays_is_left_alone() -> None:
    pipe = build("tiny-sd")
    draw(pipe)
    tensors = {"latents": torch.ones(1)}
    kept, state = dict(tensors), dict(vars(pipe.scheduler))
    move_run_to(torch.device("cpu"), tensors, pipe.scheduler)
    assert tensors["latents"] is kept["latents"]
    assert all(vars(pipe.scheduler)[name] is value for name, value in state.items())


@pytest.mark.gpu
@pytest.mark.parametrize("scheduler", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler"])
@pytest.mark.parametrize("cached", [False, True])
def test_offloading_comes_and_goes_between_two_steps(scheduler: str, cached: bool) -> None:
    pipe = build("tiny-sd")
    pipe.scheduler = getattr(dpnb, scheduler).from_config(pipe.scheduler.config)
    plain = draw(pipe, steps=6)
    if cached:
        pipe.strategies.enable(dpnb.ConditioningCache())
    plans = [
        lambda: pipe.enable_model_cpu_offload(),
        lambda: pipe.remove_all_hooks(),
        lambda: pipe.enable_sequential_cpu_offload(),
        lambda: pipe.to("cuda"),
        lambda: pipe.remove_all_hooks(),
        lambda: pipe.to("cpu"),
    ]

    def switch(_: Any, index: int, __: Tensor, ___: dict[str, Tensor]) -> None:
        plans[index]()

    torch.testing.assert_close(
        draw(pipe, steps=6, callback_on_step_end=switch), plain, rtol=0, atol=1e-3
    )
