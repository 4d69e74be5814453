from __future__ import annotations

from collections.abc import Iterator

import pytest

from dpnb import SequentialOffload
from dpnb.strategies.stack import StrategyStack, stack_of
from tests.strategies.offload.network import Blocks
from tests.strategies.pictures import QUICK


@pytest.fixture
def network() -> Blocks:
    return Blocks()


@pytest.fixture
def stack(network: Blocks) -> Iterator[StrategyStack]:
    stack = stack_of(network, "unet")
    stack.enable(SequentialOffload(device=QUICK))
    yield stack
    stack.use([])
