from __future__ import annotations

import torch
from torch import Tensor, nn

from dpnb.strategies.offload.dispatch import ComponentPlacement, dispatch
from dpnb.strategies.undo import Undo


def test_what_a_component_returns_goes_where_the_others_compute() -> None:
    """Shown with a device that holds no values."""
    layer, outside = nn.Linear(2, 3), torch.device("meta")
    with Undo() as undo:
        placement = ComponentPlacement("layer", layer, torch.device("cpu"))
        dispatch(placement, outside, None, lambda _: False, undo)
        out = layer(torch.ones(1, 2))
        assert out.device == outside
        assert out.shape == (1, 3)
    assert isinstance(layer(torch.ones(1, 2)), Tensor)
    assert "forward" not in vars(layer)
