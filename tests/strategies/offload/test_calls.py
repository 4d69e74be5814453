from __future__ import annotations

import pytest
import torch

from dpnb.errors import StrategyError
from dpnb.strategies.stack import StrategyStack
from tests.strategies.offload.network import (
    Blocks,
    X,
)


def test_gradients_are_refused_by_name(network: Blocks, stack: StrategyStack) -> None:
    out = network(X)
    assert torch.equal(out, Blocks()(X))
    with pytest.raises(StrategyError, match="No gradient passes through weights"):
        out.sum().backward()
