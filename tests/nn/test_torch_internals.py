from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from dpnb.metering.tensors import TensorMeter
from dpnb.nn import torch_internals
from dpnb.nn.compiled import computes_as_written
from dpnb.nn.torch_internals import (
    COMPUTING,
    default_device,
    function_modes,
    has_dispatch_modes,
    has_global_hooks,
    missing_names,
    package_loader,
    without_hooks,
)
from dpnb.strategies.attention_mode import AttentionMode


class Doubling(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_names_that_are_gone_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing_names() == []
    monkeypatch.setattr(torch_internals, "package_loader", lambda: None)
    assert missing_names() == ["AOTIModelPackageLoader"]
    monkeypatch.delattr(torch._C, "_aoti")
    assert missing_names() == ["_aoti"]


def test_modes_are_those_that_replace_something() -> None:
    mode = AttentionMode(lambda call: call.query)
    with torch.no_grad():
        assert not computes_as_written()
        with torch.device("meta"):
            assert function_modes() == []
            assert default_device() == "meta"
            assert not computes_as_written()
            with mode:
                assert function_modes() == [mode]
                assert computes_as_written()
        assert default_device() == ""
    assert not has_dispatch_modes()
    with TensorMeter():
        assert has_dispatch_modes()


def test_hooks_for_all_modules_are_heard() -> None:
    handle = register_module_forward_hook(lambda *_: None)
    try:
        assert has_global_hooks()
        with torch.no_grad():
            assert computes_as_written()
    finally:
        handle.remove()
    assert not has_global_hooks()


@pytest.mark.parametrize("name", COMPUTING)
def test_a_module_computes_by_its_attributes(name: str) -> None:
    module: Any = Doubling()
    vars(module)[name] = lambda x: 3 * x
    assert module(torch.ones(())) == 3
    del vars(module)[name]
    assert module(torch.ones(())) == 2


def test_hooks_are_where_they_are_looked_for() -> None:
    module = Doubling()
    module.register_forward_hook(lambda *_: torch.zeros(()))
    module.register_forward_pre_hook(lambda *_: None)
    assert module(torch.ones(())) == 0
    vars(module).update(without_hooks())
    assert module(torch.ones(())) == 2
    assert vars(module).keys() == vars(Doubling()).keys()


def test_a_file_that_is_not_there_is_not_loaded() -> None:
    with pytest.raises(RuntimeError):
        package_loader()("nowhere.pt2", "model", False, 1, -1)
