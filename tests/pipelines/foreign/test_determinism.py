"""The same numbers in every run, asked for by the names that scripts know."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import torch

from dpnb.pipelines.foreign.determinism import (
    CUDA_VARIABLES,
    disable_full_determinism,
    enable_full_determinism,
)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in CUDA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    was = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    yield
    torch.use_deterministic_algorithms(was)
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = cudnn


def are_fixed() -> list[bool]:
    """What torch and cuDNN say of their algorithms."""
    return [torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.deterministic]


def test_a_process_computes_the_same_in_every_run_until_it_need_not() -> None:
    enable_full_determinism()
    assert all(are_fixed())
    assert os.environ.items() >= CUDA_VARIABLES.items()
    disable_full_determinism()
    assert not any(are_fixed())
    assert not os.environ.keys() & CUDA_VARIABLES.keys()
