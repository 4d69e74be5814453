from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from dpnb.metering.cuda import CudaMeter
from dpnb.metering.host import HostMeter
from dpnb.metering.meter import Meter, meter_for
from dpnb.metering.tensors import TensorMeter
from tests.metering.memory import occupy

SIZE = 20_000_000

KINDS = [
    pytest.param(HostMeter, id="host"),
    pytest.param(TensorMeter, id="tensors"),
    pytest.param(CudaMeter, id="cuda", marks=pytest.mark.gpu),
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_meter_reads_resets_and_is_entered(kind: type[Any]) -> None:
    meter: Meter = kind()
    assert isinstance(meter, Meter)
    before = time.perf_counter()
    device = "cuda" if meter.name == "cuda" else "cpu"
    with meter:
        meter.reset_peak()
        held = occupy(SIZE) if kind is HostMeter else torch.ones(SIZE // 4, device=device)
        reading = meter.read()
        del held
        later = meter.read()
    assert before < reading.time < later.time
    assert later.peak >= reading.peak >= reading.current
    assert later.peak >= later.current + SIZE // 2
    meter.reset_peak()
    assert meter.read().peak < later.peak
    assert "bytes" in meter.label


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_said_of_the_machine_adds_up(kind: type[Any]) -> None:
    reading = kind().read()
    if reading.limit is not None:
        held = reading.current if reading.reserved is None else reading.reserved
        assert held + reading.free + reading.others == reading.limit


def test_a_name_says_which_meter() -> None:
    assert isinstance(meter_for("cpu"), HostMeter)
    assert isinstance(meter_for("cpu", "host"), HostMeter)
    assert isinstance(meter_for(torch.device("cpu"), "tensors"), TensorMeter)
    own = TensorMeter()
    assert meter_for("cpu", own) is own


@pytest.mark.gpu
def test_a_cuda_device_has_a_meter_of_its_own() -> None:
    assert isinstance(meter_for("cuda"), CudaMeter)
    assert isinstance(meter_for("cuda", "tensors"), TensorMeter)


def test_what_is_no_meter_is_refused() -> None:
    with pytest.raises(ValueError, match="'gpu' is no meter; use"):
        meter_for("cpu", "gpu")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="7 is not a meter; use"):
        meter_for("cpu", 7)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'nowhere' is not a device"):
        meter_for("nowhere")
    with pytest.raises(ValueError, match="CudaMeter reads CUDA devices, not cpu"):
        meter_for("cpu", "cuda")
