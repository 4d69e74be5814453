import re
from pathlib import Path

import pytest
import torch

from dpnb.devices import accelerator, best_device, is_present, parse_device, parse_dtype

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
