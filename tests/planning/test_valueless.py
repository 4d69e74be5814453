"""Tensors without values take the places, sizes and lifetimes of those with values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.planning.valueless import ValuelessTensorError, ValuelessTensors
from dpnb.planning.valueless_pipeline import build_valueless_pipeline
from dpnb.planning.workload import Workload


def traced(pipe: Any, workload: Workload) -> list[tuple[str, int, int]]:
    """Stage, peak and what is left of every step of a run."""
    with dpnb.record(pipe, TensorMeter()) as trace:
        pipe(**workload.arguments())
    return [(step.stage, step.peak, step.current) for step in trace.steps]


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "size"), [("tiny-sd", 32), ("tiny-sdxl", 48)])
def test_a_run_holds_byte_for_byte_what_a_real_one_holds(name: str, size: int, dtype: str) -> None:
    real = dpnb.random_pipeline(name, dtype=dtype)
    real.set_progress_bar_config(disable=True)
    valueless_mode = ValuelessTensors()
    empty = build_valueless_pipeline(name, valueless_mode, dtype)
    workload = Workload(height=size, width=size + 16, batch=2, steps=3)
    expected = traced(real, workload)
    with valueless_mode:
        assert traced(empty, workload) == expected


def test_layouts_are_those_of_real_operations() -> None:
    valueless_mode = ValuelessTensors()
    layer = nn.Conv2d(4, 6, 3, padding=1)
    x = torch.randn(2, 4, 8, 8).to(memory_format=torch.channels_last)

    def compute(x: Tensor) -> list[Tensor]:
        y = layer(x)
        return [y, y.flatten(2).transpose(1, 2), torch.cat([y, y.float()]), y.sum((2, 3)) > 0]

    expected = compute(x)
    valueless_mode.discard_values(layer)
    with valueless_mode, torch.no_grad():
        found = compute(x)
    assert all(valueless_mode.is_valueless(tensor) for tensor in found)
    for one, other in zip(found, expected, strict=True):
        assert (one.shape, one.stride(), one.dtype) == (other.shape, other.stride(), other.dtype)


def test_what_has_values_is_computed() -> None:
    with ValuelessTensors():
        assert (torch.arange(4) + 1).sum().item() == 10


def test_what_is_written_over_has_no_values_any_more() -> None:
    valueless_mode = ValuelessTensors()
    with valueless_mode:
        place = torch.zeros(3)
        place.copy_(valueless_mode.empty((3,), torch.float32))
        assert valueless_mode.is_valueless(place)
        place.mul_(2)
        with pytest.raises(ValuelessTensorError, match="decides by values"):
            place[0].item()


def test_valueless_tensors_are_forgotten_when_they_are_freed() -> None:
    valueless_mode = ValuelessTensors()
    kept = valueless_mode.empty((4,), torch.float32)
    with valueless_mode:
        for _ in range(10):
            _ = kept + 1
    del _
    assert len(valueless_mode._valueless_storages) == 1


def test_operations_are_counted_with_their_arithmetic() -> None:
    valueless_mode = ValuelessTensors()
    weight = valueless_mode.empty((8, 4), torch.float32)
    with valueless_mode:
        torch.ones(2, 4) @ weight.T
    products = {o: n for o, n in valueless_mode.operations.items() if o.flops}
    assert [(o.flops, o.nbytes, n) for o, n in products.items()] == [
        (2 * 2 * 4 * 8, 4 * (2 * 4 + 4 * 8 + 2 * 8), 1)
    ]


def test_tied_weights_stay_tied_and_buffers_keep_their_values() -> None:
    layer = nn.Module()
    layer.a, layer.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    layer.b.weight = layer.a.weight
    layer.register_buffer("positions", torch.arange(3))
    ValuelessTensors().discard_values(layer)
    assert layer.a.weight.data_ptr() == layer.b.weight.data_ptr()
    assert layer.get_buffer("positions").tolist() == [0, 1, 2]


def test_products_of_batches_hold_no_more_than_real_ones() -> None:
    def highest(x: Tensor, weight: Tensor) -> int:
        with TensorMeter() as meter:
            y = x @ weight
            y = y.split(2)[0] @ weight
            assert y.numel()
        peak: int = meter.peak
        return peak

    valueless_mode = ValuelessTensors()
    expected = highest(torch.ones(4, 3, 5), torch.ones(5, 5))
    with valueless_mode:
        found = highest(
            *(valueless_mode.empty(shape, torch.float32) for shape in ((4, 3, 5), (5, 5)))
        )
    assert found == expected
