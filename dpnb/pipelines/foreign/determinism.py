"""The same numbers in every run, for a whole process."""

from __future__ import annotations

import os
from contextlib import ExitStack

import torch

CUDA_VARIABLES = {"CUDA_LAUNCH_BLOCKING": "1", "CUBLAS_WORKSPACE_CONFIG": ":16:8"}
"""What CUDA reads when it begins, so that its kernels run one by one and in a fixed memory."""

_undo = ExitStack()


def enable_full_determinism() -> None:
    """Let torch compute the same in every run, where it can, and refuse where it cannot.

    Slower; before the first use of a GPU, since CUDA reads its part only then.
    """
    disable_full_determinism()
    for name, value in CUDA_VARIABLES.items():
        _undo.callback(_set_variable, name, os.environ.get(name))
        os.environ[name] = value
    _undo.callback(
        torch.use_deterministic_algorithms,
        torch.are_deterministic_algorithms_enabled(),
        warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True)
    for backend, switch, wanted in (
        (torch.backends.cudnn, "deterministic", True),
        (torch.backends.cudnn, "benchmark", False),
        (torch.backends.cuda.matmul, "allow_tf32", False),
    ):
        _undo.callback(setattr, backend, switch, getattr(backend, switch))
        setattr(backend, switch, wanted)


def disable_full_determinism() -> None:
    """Let all be as it was before `enable_full_determinism`."""
    _undo.close()


def _set_variable(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
