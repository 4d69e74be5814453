"""What networks tell of themselves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from dpnb.models.model import Model
from tests.strategies.pipes import build


@pytest.fixture
def pipe() -> Any:
    return build("tiny-sd")


def test_numbers_are_counted(pipe: Any) -> None:
    unet = pipe.unet
    count = sum(p.numel() for p in unet.parameters())
    assert unet.num_parameters() == count
    unet.requires_grad_(False)
    unet.conv_in.requires_grad_(True)
    assert unet.num_parameters(only_trainable=True) == unet.conv_in.weight.numel() + 16
    assert unet.get_memory_footprint() == 4 * count == unet.nbytes
    table = Table()
    assert table.num_parameters(exclude_embeddings=True) == 3
    assert table.get_memory_footprint(return_buffers=False) == 4 * 11
    assert table.get_memory_footprint() == 4 * 13


class Table(Model):
    """A network with a table and a buffer."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.table = nn.Embedding(4, 2)
        self.layer = nn.Linear(2, 1)
        self.register_buffer("steps", torch.zeros(2))
