"""Tensors without values take the places, sizes and lifetimes of those with values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import dpnb
from dpnb.metering.tensors import TensorMeter
from dpnb.planning.unreserved import empty_strided
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


def test_much_noise_is_not_drawn() -> None:
    with ValuelessTensors() as mode:
        few, many = torch.randn(4), torch.randn(1 << 40, generator=torch.Generator())
    assert (mode.is_valueless(few), mode.is_valueless(many)) == (False, True)
    assert (many.shape, many.dtype) == ((1 << 40,), torch.float32)


def test_nobody_reserves_what_is_larger_than_the_machine() -> None:
    large = empty_strided((1 << 20, 1 << 20), (1 << 20, 1), torch.bfloat16)
    assert (large.shape, large.stride()) == ((1 << 20, 1 << 20), (1 << 20, 1))
    assert large.untyped_storage().nbytes() == 1 << 41
    few = empty_strided((2, 3), (1, 2), torch.int8)
    assert (few.shape, few.stride(), few.dtype) == ((2, 3), (1, 2), torch.int8)
    assert empty_strided((0, 1 << 40), (1 << 40, 1), torch.float32).numel() == 0


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


def test_what_is_made_of_a_shape_alone_has_values_where_it_is_small() -> None:
    mode = ValuelessTensors()
    embeds = mode.empty((2, 5, 8), torch.bfloat16)
    with mode:
        ones = torch.ones_like(embeds)
        assert ones.bool().all()
        assert torch.full_like(embeds, 3).sum().item() == 240
        assert not embeds.new_zeros((4,)).any()
        filled = torch.empty_like(embeds).fill_(1)
        assert filled.min().item() == 1
        large = mode.empty((1 << 20,), torch.float32)
        assert mode.is_valueless(torch.zeros_like(large))
        assert torch.ones_like(large, dtype=torch.bool).all()


def test_what_is_filled_as_a_whole_has_values_again() -> None:
    mode = ValuelessTensors()
    embeds = mode.empty((2, 5), torch.float32)
    with mode:
        embeds[0].zero_()
        assert mode.is_valueless(embeds)
        embeds.copy_(torch.arange(5))
        assert embeds.sum().item() == 20
        embeds.copy_(mode.empty((5,), torch.float32))
        assert mode.is_valueless(embeds)


@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 7)])
def test_masks_with_values_choose_from_what_has_none(shape: tuple[int, ...]) -> None:
    mode = ValuelessTensors()
    embeds = mode.empty(shape, torch.float32)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]]).bool()
    values = torch.zeros(shape)
    expected = [values[mask], values[0][mask[0]], values[:, mask[1]]]
    with mode:
        found = [embeds[mask], embeds[0][mask[0]], embeds[:, mask[1]]]
        for one, other in zip(found, expected, strict=True):
            assert (one.shape, one.stride()) == (other.shape, other.stride())
            assert mode.is_valueless(one)


def test_code_may_decide_by_what_real_inputs_say() -> None:
    mode = ValuelessTensors()
    embeds = mode.empty((2, 4, 3), torch.float32)
    ids = torch.tensor([[5, 6, 0, 0], [5, 6, 7, 8]])
    with mode:
        mask = ids != 0
        assert [part.shape[0] for part in embeds[mask].split(mask.sum(1).tolist())] == [2, 4]
        assert embeds.masked_select(mask[:, :, None]).shape == (18,)
        assert mask.nonzero().shape == (6, 2)
        assert embeds[torch.where(mask)].shape == (6, 3)
        assert embeds.repeat_interleave(torch.tensor([1, 3]), dim=0).shape == (4, 4, 3)
        assert torch.unique(ids).tolist() == [0, 5, 6, 7, 8]
        assert torch.bincount(ids.flatten()).tolist() == [2, 0, 0, 0, 0, 2, 2, 1, 1]
        assert (ids[0] == ids[1])[:2].all()


def test_masks_choose_where_something_is_written() -> None:
    mode = ValuelessTensors()
    embeds, mask = mode.empty((3, 4), torch.float32), torch.tensor([True, False, True])
    place = torch.zeros(3, 4)
    with mode:
        embeds[mask] = 0
        place[mask] = embeds[mask]
        scattered = torch.zeros(3, 4).scatter(1, torch.tensor([[0, 1]]), embeds)
        assert torch.where(mask[:, None], embeds, 0).shape == (3, 4)
        assert all(map(mode.is_valueless, (embeds, place, scattered)))
        assert mask.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "decide",
    [
        lambda x: x[x > 0],
        lambda x: x.masked_select(x > 0),
        lambda x: x.nonzero(),
        lambda x: torch.unique(x),
        lambda x: torch.bincount(x.long()),
        lambda x: torch.arange(4).repeat_interleave(x.long()),
        lambda x: torch.arange(4)[x > 0],
        lambda x: x.sum().item(),
        lambda x: bool(torch.equal(x, x + 1)),
    ],
)
def test_what_weights_decide_is_refused(decide: Callable[[Tensor], Any]) -> None:
    mode = ValuelessTensors()
    x = mode.empty((4,), torch.float32)
    with mode, pytest.raises(ValuelessTensorError, match="decides by values that its networks"):
        decide(x)


def test_inference_mode_leaves_views_views() -> None:
    mode, meter = ValuelessTensors(), TensorMeter()
    with torch.inference_mode(), mode.count_with(meter):
        x = mode.empty((4, 6), torch.float32)
        before = meter.current
        assert x.reshape(6, 4).untyped_storage()._cdata == x.untyped_storage()._cdata
        assert meter.current == before


def test_what_changes_the_shape_in_place_does_so() -> None:
    mode = ValuelessTensors()
    with mode:
        x = mode.empty((1, 4, 6), torch.float32)
        assert torch.quantile(x, 0.5, dim=2).shape == (1, 4)
        x.squeeze_(0).t_()
        assert (x.shape, x.stride()) == ((6, 4), (1, 6))
        assert mode.is_valueless(x)


def test_factors_of_two_dtypes_are_refused_as_a_device_does() -> None:
    valueless_mode = ValuelessTensors()
    layer = nn.Linear(4, 4)
    valueless_mode.discard_values(layer)
    layer.weight.data = valueless_mode.empty((4, 4), torch.float8_e4m3fn)
    refused = pytest.raises(RuntimeError, match="float32 and float8_e4m3fn; it takes one dtype")
    with valueless_mode, torch.no_grad(), refused:
        layer(torch.ones(1, 4))


def test_no_network_gives_one_number_everywhere() -> None:
    mode = ValuelessTensors()
    with mode:
        found = mode.empty((4,), torch.float32)
        assert not torch.all(found == 0)
        for decide in (torch.all(found.long() == 0), torch.any(found == 0), torch.all(found > 0)):
            with pytest.raises(ValuelessTensorError):
                bool(decide)


def test_gradients_of_weights_are_held_as_really() -> None:
    layers = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 8))
    layers[0].requires_grad_(False)
    mode = ValuelessTensors()

    def learn(given: Tensor) -> int:
        with mode.count_with(meter := TensorMeter()):
            layers(given).square().sum().backward()
        return meter.current

    real = learn(torch.ones(2, 8))
    assert real == 4 * (16 * 8 + 8)
    layers.zero_grad()
    mode.discard_values(layers)
    assert learn(torch.ones(2, 8)) == real
