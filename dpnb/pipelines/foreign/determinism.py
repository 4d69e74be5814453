"""The same numbers in every run, for a whole process."""

from __future__ import annotations

import os

import torch

CUDA_VARIABLES = {"CUDA_LAUNCH_BLOCKING": "1", "CUBLAS_WORKSPACE_CONFIG": ":16:8"}
"""What CUDA reads when it begins, so that its kernels run one by one and in a fixed memory."""


def enable_full_determinism() -> None:
    """Let torch compute the same in every run, where it can, and refuse where it cannot.

    Slower; before the first use of a GPU, since CUDA reads its part only then.
    """
    os.environ.update(CUDA_VARIABLES)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False


def disable_full_determinism() -> None:
    """Let torch choose its algorithms by their speed again."""
    for name in CUDA_VARIABLES:
        os.environ.pop(name, None)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False
