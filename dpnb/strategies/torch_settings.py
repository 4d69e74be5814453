"""What a process has set of torch, and whoever compiles for it has to set as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from typing_extensions import Self

from dpnb.nn.torch_internals import default_device


@dataclass(frozen=True)
class TorchSettings:
    """Settings of torch that decide what code is made, or what is computed by it.

    Attributes:
        threads: that compute on the CPU.
        matmul_precision: of products of matrices in float32; see
            `torch.set_float32_matmul_precision`.
        is_deterministic: whether the same is computed in every run.
        dtype: of new tensors.
        device: of new tensors; empty where none is set.
    """

    threads: int
    matmul_precision: str
    is_deterministic: bool
    dtype: torch.dtype
    device: str

    @classmethod
    def now(cls) -> Self:
        """Those of this process, and of this thread."""
        return cls(
            torch.get_num_threads(),
            matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(),
            default_device(),
        )

    def use(self) -> None:
        """Set them, for this process."""
        torch.set_num_threads(self.threads)
        torch.set_float32_matmul_precision(self.matmul_precision)
        torch.use_deterministic_algorithms(self.is_deterministic, warn_only=True)
        torch.set_default_dtype(self.dtype)
        torch.set_default_device(self.device or None)


def matmul_precision() -> str:
    """Of products of matrices in float32; see `torch.set_float32_matmul_precision`."""
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set in the newer way, which the older one refuses to read
        return "high" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "highest"


def convolves_in_tf32() -> bool:
    """Whether convolutions of float32 may round what they multiply, on cards that gain by it."""
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:  # likewise
        cudnn: Any = torch.backends.cudnn
        return bool(cudnn.conv.fp32_precision == "tf32")
