"""What takes functions, as flex attention does, is seen in the operations that it is made of."""

from __future__ import annotations

import torch
from torch import Tensor
from torch._higher_order_ops.flex_attention import flex_attention
from torch.nn.attention.flex_attention import create_block_mask

from dpnb.metering.tensors import TensorMeter
from dpnb.planning.valueless import ValuelessTensors

LENGTH = 128


def attend(hidden_states: Tensor) -> Tensor:
    """Every token attends to those before it: `[1, heads, LENGTH, channels]`."""
    mask = create_block_mask(lambda b, h, q, k: q >= k, 1, 1, LENGTH, LENGTH, device="cpu")
    same = hidden_states, hidden_states, hidden_states
    out, *_ = flex_attention(*same, lambda score, *_: score, mask.as_tuple(), 0.25, {})
    assert isinstance(out, Tensor)
    return out


def test_a_meter_counts_what_it_makes_and_changes_nothing() -> None:
    given = torch.randn(1, 2, LENGTH, 16)
    plain = attend(given)
    with TensorMeter() as meter:
        counted = attend(given)
    assert torch.equal(counted, plain)
    assert meter.peak > 2 * LENGTH * LENGTH * 4  # its scores


def test_without_values_it_holds_what_it_really_holds() -> None:
    given = torch.randn(1, 2, LENGTH, 16)
    with TensorMeter() as real:
        attend(given)
    mode, meter = ValuelessTensors(), TensorMeter()
    without = mode.empty(given.shape, given.dtype)
    with mode.count_with(meter):
        out = attend(without)
    assert mode.is_valueless(out)
    assert out.shape == given.shape
    assert meter.peak == real.peak
