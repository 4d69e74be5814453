from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.checkpointing import Checkpointed


class Squares(Checkpointed):
    """Counts how often it computes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.weight = nn.Parameter(torch.tensor(3.0))

    @override
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x**2 * self.weight


def test_a_backward_pass_computes_once_more_where_that_is_asked_for() -> None:
    x = torch.tensor([1.0, 2.0])
    for is_checkpointed, calls in ((False, 1), (True, 2)):
        block = Squares()
        block.is_checkpointed = is_checkpointed
        block(x).sum().backward()
        assert block.weight.grad == 5.0
        assert block.calls == calls


def test_nothing_is_kept_for_what_has_no_gradient() -> None:
    block = Squares().eval()
    block.is_checkpointed = True
    block(torch.ones(1)).sum().backward()
    with torch.no_grad():
        block.train()(torch.ones(1))
    assert block.calls == 2
