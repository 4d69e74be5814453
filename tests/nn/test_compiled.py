from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from dpnb.metering.tensors import TensorMeter
from dpnb.nn.compiled import compute_uncompiled, plain_network


def test_the_network_within_is_found() -> None:
    network = nn.Linear(2, 2)
    compiled: Any = torch.compile(network, backend="eager")
    assert plain_network(compiled) is network
    assert plain_network(network) is network


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_what_is_seen_uncompiled_may_be_compiled_afterwards() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    given = torch.randn(3, 1, 2, 16, 8, generator=torch.Generator().manual_seed(0))

    def attend() -> Tensor:
        made: Any = flex_attention(*given)
        found: Tensor = made
        return found

    plain = attend()
    with compute_uncompiled(), TensorMeter():
        torch.testing.assert_close(attend(), plain)
    assert torch.equal(attend(), plain)
