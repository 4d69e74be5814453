"""Moving a pipeline while offloading is on: where its weights go, and that none of them moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dpnb import ModelOffload, SequentialOffload
from dpnb.strategies.conditioning import ConditioningCache
from dpnb.strategies.projection import QKVFusion
from dpnb.strategies.storage import ChannelsLast, LayerwiseCasting
from dpnb.strategies.strategy import Strategy
from tests.strategies.pictures import QUICK, State, draw, networks, tensors, wide

pytestmark = pytest.mark.exhaustive


@pytest.mark.parametrize(
    "plan",
    [
        [ModelOffload(QUICK)],
        [SequentialOffload(device=QUICK)],
        [SequentialOffload(device=QUICK, exclude=("vae",)), ConditioningCache(), QKVFusion()],
    ],
    ids=repr,
)
def test_moving_an_offloaded_pipeline_moves_no_weight(plan: list[Strategy]) -> None:
    pipe = wide("tiny-sd")
    state, plain = State.of(pipe), draw(pipe)
    pipe.strategies.use(plan)
    expected = draw(pipe)
    link = pipe.strategies.networks.link
    places = {name: tensor.data_ptr() for name, tensor in tensors(pipe).items()}
    moved = link.moved
    assert pipe.to("cpu") is pipe
    assert pipe.strategies.networks.link is link
    assert link.moved == moved
    assert {name: tensor.data_ptr() for name, tensor in tensors(pipe).items()} == places
    assert np.array_equal(draw(pipe), expected)
    pipe.strategies.use([])
    state.check(pipe)
    assert np.array_equal(draw(pipe), plain)


@pytest.mark.parametrize("other", [LayerwiseCasting(), ChannelsLast()], ids=repr)
def test_weights_are_where_they_were_moved_to_once_all_is_off(other: Strategy) -> None:
    """A device without values shows where each goes: what waits elsewhere is moved by hand."""
    pipe = wide("tiny-sd")
    pipe.strategies.use([SequentialOffload(device=QUICK), other])
    link = pipe.strategies.networks.link
    pipe.to("cpu")
    assert (pipe.strategies.networks.link is link) == isinstance(other, ChannelsLast)
    pipe.strategies.use([])
    assert {tensor.device.type for tensor in tensors(pipe).values()} == {"cpu"}


def test_only_what_a_pipeline_has_alone_is_told_of_another_home() -> None:
    pipe, networks_ = wide("tiny-sd"), list(networks(wide("tiny-sd")).values())
    assert not pipe.strategies.move_after_offload(networks(pipe).values(), torch.device("cpu"))
    pipe.strategies.use([ModelOffload(QUICK)])
    assert not pipe.strategies.move_after_offload(networks_, torch.device("cpu"))
    assert not pipe.strategies.move_after_offload([pipe.unet], torch.device("cpu"))
    assert not pipe.strategies.move_after_offload(networks(pipe).values(), torch.device("meta"))
    assert pipe.strategies.move_after_offload(networks(pipe).values(), torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [ModelOffload, SequentialOffload])
def test_an_offloaded_pipeline_is_on_the_card_once_offloading_is_off(kind: Any) -> None:
    pipe = wide("tiny-sd")
    pipe.strategies.use([kind("cuda") if kind is ModelOffload else kind(device="cuda")])
    before = torch.cuda.memory_allocated()
    pipe.to("cuda")
    assert torch.cuda.memory_allocated() == before
    pipe.strategies.use([])
    assert {tensor.device.type for tensor in tensors(pipe).values()} == {"cuda"}
