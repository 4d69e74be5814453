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
def quick() -> Iterator[None]:
    """Every switch is the other way before a test, and as it was after it."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, matmul.allow_tf32
    cudnn.benchmark = matmul.allow_tf32 = True
    yield
    disable_full_determinism()
    cudnn.benchmark, matmul.allow_tf32 = before


def present() -> list[object]:
    """What torch, cuDNN and CUDA are told."""
    return [
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        not torch.backends.cudnn.benchmark,
        not torch.backends.cuda.matmul.allow_tf32,
        *(os.environ.get(name) for name in CUDA_VARIABLES),
    ]


@pytest.mark.parametrize("workspace", [None, ":4096:8"])
def test_a_process_computes_the_same_in_every_run_until_it_need_not(
    workspace: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_LAUNCH_BLOCKING", raising=False)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    if workspace is not None:
        monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", workspace)
    before = present()
    for _ in range(2):
        enable_full_determinism()
        assert present() == [True, True, True, True, *CUDA_VARIABLES.values()]
    disable_full_determinism()
    assert present() == before
    disable_full_determinism()
    assert present() == before
