import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import dpnb
from dpnb.devices import (
    accelerator,
    available_device,
    best_device,
    is_present,
    parse_device,
    parse_dtype,
    upload,
)
from tests.devices.cards import LateCards
from tests.devices.cuda_names import late_cards

pytestmark = pytest.mark.exhaustive

PACKAGE = Path(__file__).parent.parent / "dpnb"


@pytest.mark.parametrize("name", ["float16", "fp16", "torch.float16", torch.float16])
def test_a_dtype_has_several_names(name: str | torch.dtype) -> None:
    assert parse_dtype(name) is torch.float16


def test_an_unknown_dtype_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(TypeError, match=r"'half-ish' is not a dtype; use .* float16"):
        parse_dtype("half-ish")


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ValueError, match="'toaster' is not a device"):
        parse_device("toaster")


def test_the_best_device_can_hold_a_tensor() -> None:
    assert torch.zeros(1, device=best_device()).device.type == best_device().type


@pytest.mark.parametrize("device", ["", "gpu", "tpu", "CUDA", "cuda:-1", "cuda:x", -1, 1.5, None])
def test_what_is_no_device_is_refused_wherever_one_is_named(device: Any) -> None:
    for ask in (parse_device, available_device):
        with pytest.raises(ValueError, match="is not a device; use for example"):
            ask(device)


ABSENT = [
    name
    for name in ("cuda", "cuda:7", "mps", "xpu", "xpu:1", "mtia", "xla", "hpu", "vulkan", "maia")
    if torch.accelerator.current_accelerator() != torch.device(name.partition(":")[0])
]
"""Kinds of devices that torch knows by name and this machine does not have."""


@pytest.mark.parametrize("device", ABSENT)
def test_a_device_that_is_not_here_is_one_sentence(device: str) -> None:
    pipe = dpnb.random_pipeline("tiny-sd")
    asks: list[Callable[[], object]] = [
        lambda: available_device(device),
        lambda: pipe.to(device),
        lambda: pipe.to(device=device),
        lambda: pipe.to(torch.device(device), torch.float16, silence_dtype_warnings=True),
        lambda: dpnb.plan("tiny-sd", device=device),
        lambda: dpnb.DeviceProfile.measure(device),
        lambda: dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", device_map=device),
    ]
    for ask in asks:
        with pytest.raises(dpnb.DeviceError, match=f"{device.partition(':')[0]} device") as caught:
            ask()
        assert "\n" not in str(caught.value)
    assert pipe.device.type == "cpu"
    assert pipe.dtype is torch.float32


def test_the_cpu_and_tensors_without_values_are_always_here() -> None:
    for name in ("cpu", "meta", "cpu:0"):
        assert available_device(name) == torch.device(name)


def test_what_is_not_here_is_not_present() -> None:
    assert is_present(torch.device("cpu"))
    assert is_present(best_device())
    assert not is_present(torch.device("cuda:97"))
    assert not is_present(torch.device("meta"))


def test_a_kind_that_torch_was_built_for_has_to_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("xpu"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    assert accelerator() is None
    assert best_device() == torch.device("cpu")
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert best_device() == torch.device("xpu")
    present = {name: is_present(torch.device(name)) for name in ("xpu", "xpu:1", "xpu:2", "cuda")}
    assert present == {"xpu": True, "xpu:1": True, "xpu:2": False, "cuda": False}


def test_the_accelerator_is_asked_for_in_one_place() -> None:
    asking = re.compile(r"accelerator\.(current_accelerator|is_available|device_count)")
    files = {file.name for file in PACKAGE.rglob("*.py") if asking.search(file.read_text())}
    assert files == {"devices.py"}


def test_pictures_are_compared_at_full_precision() -> None:
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def test_nothing_waits_for_what_comes_to_a_gpu() -> None:
    values = torch.arange(3.0)
    assert torch.equal(upload(values, None), values)
    with late_cards(LateCards(0)) as cards:
        there = upload(values, "cuda")
        values.zero_()
        assert (there.device, cards.waits) == (torch.device("cuda", 0), [])
        assert torch.equal(there.cpu(), torch.arange(3.0))
        with FakeTensorMode():
            assert upload(torch.zeros(3), "cuda:0").device == torch.device("cuda", 0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_it_is_said_what_hides_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    with pytest.raises(dpnb.DeviceError, match="CUDA_VISIBLE_DEVICES is '2', and hides all others"):
        dpnb.plan("tiny-sd", device="cuda")
