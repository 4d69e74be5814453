"""Kernels of attention by name: those of torch, each by itself, and those of other packages.

Torch's are called directly. Its `sdpa_kernel`, which chooses among them, does so for every thread
of the process as long as it is entered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dpnb.nn.attention_kernels import ChosenKernel, XFormersKernel
from dpnb.silence import silence_imports

aten = torch.ops.aten

ALIGNED = 8
"""Torch's fused kernels on CUDA want heads of a multiple of so many channels."""


@dataclass(frozen=True)
class MathKernel(ChosenKernel):
    """Attention written out by torch: two products of matrices, and the matrix between them."""

    title: ClassVar[str] = "torch's attention written out"
    builds_matrix: ClassVar[bool] = True

    @override
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        out: Tensor = aten._scaled_dot_product_attention_math(query, key, value, scale=scale)[0]
        return out


@dataclass(frozen=True)
class FlashKernel(ChosenKernel):
    """Torch's flash attention (Dao 2023, arXiv:2307.08691), which it has for the CPU as well."""

    title: ClassVar[str] = "torch's flash attention"

    @override
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        if query.device.type == "cpu":
            parts = map(_with_dense_heads, (query, key, value))
            out: Tensor = aten._scaled_dot_product_flash_attention_for_cpu(*parts, scale=scale)[0]
            return out
        return _attend_aligned(_flash, query, key, value, scale)


@dataclass(frozen=True)
class EfficientKernel(ChosenKernel):
    """Torch's memory-efficient attention (Rabe & Staats 2021, arXiv:2112.05682)."""

    title: ClassVar[str] = "torch's memory-efficient attention"
    needs_cuda: ClassVar[bool] = True

    @override
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        attend = partial(_keep_sums, aten._scaled_dot_product_efficient_attention)
        return _attend_aligned(attend, query, key, value, scale)


@dataclass(frozen=True)
class CudnnKernel(ChosenKernel):
    """The attention of NVIDIA's cuDNN."""

    title: ClassVar[str] = "cuDNN's attention"
    needs_cuda: ClassVar[bool] = True

    @override
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        attend = partial(_keep_sums, aten._scaled_dot_product_cudnn_attention)
        return _attend_aligned(attend, query, key, value, scale)


@dataclass(frozen=True)
class FlexKernel(ChosenKernel):
    """Torch's flexible attention (Dong et al. 2024, arXiv:2412.05496), which it compiles."""

    title: ClassVar[str] = "torch's flexible attention"
    package: ClassVar[str | None] = "triton"
    remedy: ClassVar[str] = "install triton"
    needs_cuda: ClassVar[bool] = True

    @override
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        out: Tensor = _compile_flex()(query, key, value, scale=scale)
        return out


@dataclass(frozen=True)
class SageKernel(ChosenKernel):
    """SageAttention (Zhang et al. 2024, arXiv:2410.02367), which multiplies in 8 bits."""

    title: ClassVar[str] = "SageAttention"
    package: ClassVar[str | None] = "sageattention"
    remedy: ClassVar[str] = "install sageattention"
    needs_cuda: ClassVar[bool] = True

    @override
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        attend = _import_quietly("sageattention").sageattn
        parts = map(_with_dense_heads, (query, key, value))
        out: Tensor = attend(*parts, tensor_layout="HND", is_causal=False, sm_scale=scale)
        return out


@dataclass(frozen=True)
class FlashTwoKernel(ChosenKernel):
    """FlashAttention 2, of its authors' package."""

    title: ClassVar[str] = "FlashAttention 2"
    package: ClassVar[str | None] = "flash_attn"
    remedy: ClassVar[str] = "install flash-attn"
    needs_cuda: ClassVar[bool] = True

    @override
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        attend = _import_quietly(str(self.package)).flash_attn_func
        parts = (part.transpose(1, 2) for part in map(_with_dense_heads, (query, key, value)))
        found = attend(*parts, softmax_scale=scale)
        out: Tensor = found[0] if isinstance(found, tuple) else found  # some give more besides
        return out.transpose(1, 2)


@dataclass(frozen=True)
class FlashThreeKernel(FlashTwoKernel):
    """FlashAttention 3 (Shah et al. 2024, arXiv:2407.08608), of its authors' package."""

    title: ClassVar[str] = "FlashAttention 3"
    package: ClassVar[str | None] = "flash_attn_interface"
    remedy: ClassVar[str] = "build it from the folder hopper of flash-attn"


KERNELS: Mapping[str, ChosenKernel] = {
    "flash": FlashKernel(),
    "efficient": EfficientKernel(),
    "cudnn": CudnnKernel(),
    "math": MathKernel(),
    "flex": FlexKernel(),
    "xformers": XFormersKernel(),
    "sage": SageKernel(),
    "flash_2": FlashTwoKernel(),
    "flash_3": FlashThreeKernel(),
}
"""Every kernel that may be chosen, by its name."""

APPROXIMATE = frozenset({"sage"})
"""Those that round more than a dtype does."""


def _attend_aligned(
    attend: Callable[[Tensor, Tensor, Tensor, float], Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scale: float | None,
) -> Tensor:
    """Attend by heads that are padded with zeros as far as the kernel wants, which change nothing.

    Args:
        attend: query, key, value and scale → what they attend to.
        query: `[batch, heads, tokens, head_dim]`, as key and value.
        key: likewise.
        value: likewise.
        scale: of the products.
    """
    width = query.shape[-1]
    missing = -width % ALIGNED
    query, key, value = map(_with_dense_heads, (query, key, value))
    if missing:
        query, key, value = (F.pad(part, (0, missing)) for part in (query, key, value))
    out = attend(query, key, value, width**-0.5 if scale is None else scale)
    return out[..., :width] if missing else out


def _with_dense_heads(part: Tensor) -> Tensor:
    """The same, with the channels of a head side by side: kernels take that for granted."""
    return part if part.stride(-1) == 1 else part.contiguous()


def _flash(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    out: Tensor = aten._scaled_dot_product_flash_attention(query, key, value, scale=scale)[0]
    return out


def _keep_sums(operator: Any, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attend by an operator that keeps what gradients need, where they are recorded."""
    out: Tensor = operator(query, key, value, None, torch.is_grad_enabled(), scale=scale)[0]
    return out


def _import_quietly(name: str) -> Any:
    """A package; what it says is kept back when it is imported, not at each call of attention."""
    if name in sys.modules:
        return import_module(name)
    with silence_imports():
        return import_module(name)


@cache
def _compile_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention)
