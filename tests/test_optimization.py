"""Schedules of a learning rate."""

from __future__ import annotations

import pytest
import torch

from dpnb.optimization import NAMES, get_scheduler


def rates(name: str) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_scheduler(name, optimizer, num_warmup_steps=2, num_training_steps=10)
    found = []
    for _ in range(8):
        found.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_rate_rises_first(name: str) -> None:
    assert rates(name)[:3] == [0.0, 0.5, 1.0]
    falls = name != "constant_with_warmup"
    assert (rates(name)[-1] < 1.0) == falls


def test_constant_it_stays() -> None:
    assert rates("constant") == [1.0] * 8


def test_what_is_missing_is_told() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match="name is 'piecewise_constant'; use one of"):
        get_scheduler("piecewise_constant", optimizer)
    with pytest.raises(ValueError, match="'linear' needs num_warmup_steps"):
        get_scheduler("linear", optimizer)
    with pytest.raises(ValueError, match="'cosine' needs num_training_steps"):
        get_scheduler("cosine", optimizer, num_warmup_steps=1)
