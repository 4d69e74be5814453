from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from dpnb.strategies.offload.blocks import room_for, spread, tensors_of, tied, units
from tests.strategies.pictures import emoji, networks, wide


@pytest.mark.exhaustive
@pytest.mark.parametrize("make", [emoji, lambda: wide("tiny-sdxl"), lambda: wide("tiny-flux")])
def test_units_hold_every_tensor_of_a_network_once(make: Any) -> None:
    for network in networks(make()).values():
        found = [t for _, module in units(network) for t in tensors_of(module)]
        assert sorted(map(id, found)) == sorted(map(id, tensors_of(network)))


def test_units_are_blocks() -> None:
    pipe = emoji()
    names = [name for name, _ in units(pipe.unet)]
    assert names[:4] == [
        "conv_in",
        "time_embedding",
        "down_blocks.0.resnets.0",
        "down_blocks.0.downsamplers.0",
    ]
    assert "up_blocks.1.attentions.1" in names
    layers = [name for name, _ in units(pipe.text_encoder)]
    assert layers[0].endswith("embeddings")
    assert layers[1].endswith("encoder.layers.0")
    assert [name for name, _ in units(pipe.vae)][1] == "encoder.down_blocks.0.resnets.0"


def test_a_stack_of_transformer_blocks_is_divided() -> None:
    names = [name for name, _ in units(wide("tiny-sdxl").unet)]
    assert "mid_block.attentions.0.transformer_blocks.1" in names
    assert "mid_block.attentions.0.proj_in" in names


def test_a_module_with_tensors_of_its_own_beside_its_blocks_is_a_unit_too() -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(3, 3)) for _ in range(2))

    network = nn.ModuleDict({"inner": Blocks()})
    assert [name for name, _ in units(network)] == ["inner", "inner.blocks.0", "inner.blocks.1"]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_block_that_is_all_of_a_module_is_the_unit(depth: int) -> None:
    """It may be called by itself, so that the module around it never is."""

    class Around(nn.Module):
        def __init__(self, block: nn.Module) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([block])

    network: nn.Module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    for _ in range(depth):
        network = Around(network)
    assert [name for name, _ in units(network)] == [".".join(["blocks.0"] * depth)]


def test_a_block_beside_other_layers_is_part_of_a_larger_unit() -> None:
    pipe = emoji()
    names = [name for name, _ in units(pipe.unet)]
    assert "up_blocks.1.attentions.1" in names
    assert not any(name.startswith("up_blocks.1.attentions.1.") for name in names)


def test_tied_tensors_are_one_group() -> None:
    one = torch.randn(4, 4)
    assert [len(group) for group in tied([one, one.detach(), one[:2], one.t()])] == [2, 1, 1]


def test_room_holds_any_two_neighbours() -> None:
    assert room_for([]) == 0
    assert room_for([5]) == 5
    assert room_for([5, 1, 7, 2]) == 9


@pytest.mark.parametrize("room", [0, 3, 10, 29, 57, 100])
def test_as_many_units_stay_as_fit(room: int) -> None:
    sizes = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]
    stay = spread(sizes, room)
    used = sum(sizes[place] for place in stay)
    assert used <= room
    left = [size for place, size in enumerate(sizes) if place not in stay]
    assert all(used + size > room for size in left)


def test_the_largest_units_stay() -> None:
    assert spread([3, 9, 4, 9, 5, 2], 24) == [1, 3, 4]


def test_units_of_one_size_that_stay_are_not_side_by_side() -> None:
    stay = spread([10] * 30, 100)
    assert len(stay) == 10
    assert max(b - a for a, b in pairwise(stay)) <= 4
    assert min(b - a for a, b in pairwise(stay)) >= 2
