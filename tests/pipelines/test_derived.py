"""What holds for every class that shares the parts of another."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import dpnb
from dpnb.strategies.placement import SequentialOffload
from dpnb.strategies.strategy import Plan
from tests.pipelines.derived import ALL, derive, draw
from tests.strategies.pipes import LINK


@pytest.mark.parametrize("kind", ALL)
def test_streamed_the_picture_is_the_same(kind: Any) -> None:
    pipe = derive(kind)
    plain = draw(pipe)
    with pipe.strategies.using(SequentialOffload(device=LINK)):
        assert torch.equal(draw(pipe), plain)
    assert torch.equal(draw(pipe), plain)


@pytest.mark.parametrize("kind", ALL)
def test_its_cost_is_planned(kind: Any) -> None:
    plans: list[Plan] = [frozenset(), frozenset({SequentialOffload()})]
    pipe = derive(kind)
    table = dpnb.plan(pipe, device="RTX 3060", height=32, width=32, steps=2, plans=plans)
    assert len([row for row in table if row.peaks]) == len(plans)


@pytest.mark.parametrize("kind", ALL)
def test_multiples_of_its_unit_are_drawn(kind: Any) -> None:
    pipe = derive(kind)
    side = 3 * pipe.size_unit
    given = {"max_area": side * side} if kind is dpnb.FluxKontextPipeline else {}
    drawn = draw(pipe, height=side, width=side, num_inference_steps=2, **given)
    assert drawn.shape[-2:] == (side, side)
