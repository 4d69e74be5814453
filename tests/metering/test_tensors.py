from __future__ import annotations

import gc
import weakref
from threading import Thread

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torchao.quantization import Int8WeightOnlyConfig, quantize_

from dpnb.metering.tensors import TensorMeter


def test_live_bytes_rise_and_fall_with_their_tensors() -> None:
    with TensorMeter() as meter:
        a = torch.zeros(1000)
        b = a + 1
        assert meter.current == 8000
        del a
        assert meter.current == 4000
        b.add_(1)
        view = b[10:].view(-1, 2)
        assert meter.current == 4000
        del b
        assert meter.current == 4000
        del view
    assert meter.current == 0
    assert meter.peak == 8000


def test_the_peak_can_be_forgotten() -> None:
    with TensorMeter() as meter:
        torch.zeros(1000)
        meter.reset_peak()
        kept = torch.zeros(10)
    assert meter.peak == 40
    assert kept.shape == (10,)


def test_a_reading_says_what_is_alive() -> None:
    with TensorMeter() as meter:
        kept = torch.zeros(10)
        torch.zeros(100)
    first, second = meter.read(), meter.read()
    assert (first.current, first.peak) == (40, 440)
    assert second.time > first.time
    assert kept.numel() == 10


def test_what_was_there_before_does_not_count() -> None:
    weight = torch.zeros(100)
    with TensorMeter() as meter:
        view = weight.view(10, 10).t()
        weight.mul_(2)
    assert meter.peak == 0
    assert view.shape == (10, 10)


def test_a_tensor_that_is_resized_counts_by_its_new_size() -> None:
    with TensorMeter() as meter:
        a = torch.zeros(10)
        a.resize_(100)
        assert meter.current == 400
        out = torch.empty(0)
        torch.add(torch.zeros(50), 1, out=out)
        assert meter.current == 600
    assert a.numel() == 100


def test_a_storage_that_is_emptied_without_an_operation_is_seen_at_the_next_reading() -> None:
    with TensorMeter() as meter:
        a = torch.zeros(100)
        a.untyped_storage().resize_(0)
    assert meter.read().current == 0


def test_tensors_made_of_python_numbers_count() -> None:
    with TensorMeter() as meter:
        a = torch.tensor([1.0, 2.0])
    assert meter.current == a.nbytes == 8


def test_operations_with_several_results_count_them_all() -> None:
    x = torch.randn(6, 2)
    with TensorMeter() as meter:
        values, indices = torch.sort(x, dim=0)
        halves = x.chunk(2)
    assert meter.current == values.nbytes + indices.nbytes
    assert len(halves) == 2


@pytest.mark.parametrize("is_meter_inside", [True, False])
def test_fake_tensors_count_as_if_they_were_real(is_meter_inside: bool) -> None:
    fake, meter = FakeTensorMode(), TensorMeter()
    outer, inner = (fake, meter) if is_meter_inside else (meter, fake)
    with outer, inner:
        a = torch.zeros(1000, 1000)
        b = (a @ a).relu_()
        assert meter.current == 8_000_000
        del a, b
    assert (meter.current, meter.peak) == (0, 8_000_000)


def test_a_network_on_fake_tensors_costs_what_it_costs_in_earnest() -> None:
    def peak() -> int:
        with TensorMeter() as meter, torch.no_grad():
            network = torch.nn.Sequential(
                torch.nn.Conv2d(3, 8, 3), torch.nn.GroupNorm(2, 8), torch.nn.SiLU()
            )
            network(torch.zeros(2, 3, 16, 16))
        return int(meter.peak)

    with FakeTensorMode():
        predicted = peak()
    assert predicted == peak() > 0


def test_leaving_and_entering_again_goes_on_counting() -> None:
    meter = TensorMeter()
    with meter:
        a = torch.zeros(10)
    outside = torch.zeros(10)
    del a
    assert meter.current == 0
    with meter:
        b = torch.zeros(20)
    assert meter.current == b.nbytes == 80
    assert outside.numel() == 10


def test_a_meter_that_is_entered_twice_counts_once() -> None:
    meter = TensorMeter()
    with meter, meter:
        a = torch.zeros(10)
    assert meter.current == a.nbytes


def test_two_meters_see_the_same() -> None:
    with TensorMeter() as outer, TensorMeter() as inner:
        a = torch.zeros(10)
    assert outer.current == inner.current == a.nbytes


def test_a_meter_sees_only_the_thread_that_has_entered_it() -> None:
    made = []
    with TensorMeter() as meter:
        thread = Thread(target=lambda: made.append(torch.zeros(10)))
        thread.start()
        thread.join()
    assert made[0].nbytes == 40
    assert meter.current == 0


def test_tensors_do_not_keep_their_meter() -> None:
    meter = TensorMeter()
    with meter:
        a = torch.zeros(10)
    gone = weakref.ref(meter)
    del meter
    gc.collect()
    assert gone() is None
    assert a.numel() == 10


def test_the_parts_of_an_operation_count_in_inference_mode_too() -> None:
    x = torch.randn(8, 1000)

    def peak() -> int:
        with TensorMeter() as meter:
            torch.cov(x)
        return int(meter.peak)

    with torch.no_grad():
        expected = peak()
    with torch.inference_mode():
        assert peak() == expected > x.nbytes


def test_a_quantized_tensor_counts_by_what_it_is_made_of() -> None:
    layer = torch.nn.Linear(64, 128, bias=False)
    quantize_(layer, Int8WeightOnlyConfig(set_inductor_config=False))
    with TensorMeter() as meter:
        copy = layer.weight.data.clone()
        assert meter.current == 128 * (64 + 4 + 1)
        del copy
        assert meter.current == 0
