from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dpnb.strategies.offload.blocks import group_tied_tensors, split_into_blocks, tensors_of
from tests.strategies.pictures import emoji, networks, wide


@pytest.mark.exhaustive
@pytest.mark.parametrize("make", [emoji, lambda: wide("tiny-sdxl"), lambda: wide("tiny-flux")])
def test_blocks_hold_every_tensor_of_a_network_once(make: Any) -> None:
    for network in networks(make()).values():
        found = [t for _, module in split_into_blocks(network) for t in tensors_of(module)]
        assert sorted(map(id, found)) == sorted(map(id, tensors_of(network)))


def test_residual_blocks_and_layers_are_blocks() -> None:
    pipe = emoji()
    names = [name for name, _ in split_into_blocks(pipe.unet)]
    assert names[:4] == [
        "conv_in",
        "time_embedding",
        "down_blocks.0.resnets.0",
        "down_blocks.0.downsamplers.0",
    ]
    assert "up_blocks.1.attentions.1" in names
    layers = [name for name, _ in split_into_blocks(pipe.text_encoder)]
    assert layers[0].endswith("embeddings")
    assert layers[1].endswith("encoder.layers.0")
    assert [name for name, _ in split_into_blocks(pipe.vae)][1] == "encoder.down_blocks.0.resnets.0"


def test_a_stack_of_transformer_blocks_is_divided() -> None:
    names = [name for name, _ in split_into_blocks(wide("tiny-sdxl").unet)]
    assert "mid_block.attentions.0.transformer_blocks.1" in names
    assert "mid_block.attentions.0.proj_in" in names


def test_a_module_with_tensors_of_its_own_beside_its_blocks_is_a_block_too() -> None:
    class Blocks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(3, 3)) for _ in range(2))

    network = nn.ModuleDict({"inner": Blocks()})
    assert [name for name, _ in split_into_blocks(network)] == [
        "inner",
        "inner.blocks.0",
        "inner.blocks.1",
    ]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_an_item_that_is_all_of_a_module_is_the_block(depth: int) -> None:
    """It may be called by itself, so that the module around it never is."""

    class Around(nn.Module):
        def __init__(self, block: nn.Module) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([block])

    network: nn.Module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    for _ in range(depth):
        network = Around(network)
    assert [name for name, _ in split_into_blocks(network)] == [".".join(["blocks.0"] * depth)]


def test_an_item_beside_other_layers_is_part_of_a_larger_block() -> None:
    pipe = emoji()
    names = [name for name, _ in split_into_blocks(pipe.unet)]
    assert "up_blocks.1.attentions.1" in names
    assert not any(name.startswith("up_blocks.1.attentions.1.") for name in names)


def test_tied_tensors_are_one_group() -> None:
    one = torch.randn(4, 4)
    assert [len(group) for group in group_tied_tensors([one, one.detach(), one[:2], one.t()])] == [
        2,
        1,
        1,
    ]
