from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dpnb.strategies.torch_settings import TorchSettings

OTHER = TorchSettings(1, "high", True, torch.float64, "meta")


@pytest.fixture
def before() -> Iterator[TorchSettings]:
    settings = TorchSettings.now()
    yield settings
    settings.use()


def test_what_is_used_is_what_there_is_then(before: TorchSettings) -> None:
    assert before != OTHER
    OTHER.use()
    assert TorchSettings.now() == OTHER
    before.use()
    assert TorchSettings.now() == before


@pytest.mark.skipif(torch.__version__ < "2.9", reason="there is one way of setting it")
def test_a_precision_that_is_set_in_the_newer_way_is_read(before: TorchSettings) -> None:
    kept = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        assert TorchSettings.now().matmul_precision == "high"
    finally:
        torch.backends.cuda.matmul.fp32_precision = kept
