"""What libraries take of a card beside tensors: contexts, handles, and kernels' scratch.

Sources, read in 2026:

- cuBLAS: torch keeps a workspace for each handle and stream, by default `:4096:2:16:8`, and 32 MiB
  on Hopper and Blackwell; cuBLASLt's is 1 MiB (ATen/cuda/CublasHandlePool.cpp, CUDABlas.cpp; the
  notes on CUDA semantics; docs.nvidia.com/cuda/cublas, cublasSetWorkspace). They come from torch's
  allocator, and count as allocated.
- Convolutions: kernels of matrix units want channels last. Where a tensor has them first, cuDNN
  converts it in its workspace (NVIDIA, Deep Learning Performance, "Tensor Layouts In Memory"). In
  16 bits, input and output are; in TF32, the input: that is the difference between float16 and
  float32 in InvokeAI's measurements of decoding and encoding on an RTX 4090
  (vae_benchmarks/VAE_BENCHMARK_REPORT.md), and holds on an A100 (diffusion-fast). Pascal, without
  matrix units, converts 16 bits to float32 (gperdrizet's runs on a P100 and a GTX 1070). Where
  weights have channels first, tensors are taken to have them first: a group norm on a card gives
  such, whatever it is given (ATen/native/group_norm.cpp), though on the CPU it does not.
- Attention: torch's choice among its kernels is that of sdp_utils.cpp: flash for 16 bits, a head of
  at most 256 and no mask from Ampere on; else the memory-efficient one, which adds up in float32
  beside a 16-bit output where a head is wider than 128; the plain one for float64.
- Contexts: 256 MiB on an RTX 3090 (torch 2.7, CUDA 12.8; InvokeAI #9413), 426 on an RTX 6000 Ada
  (torch 2.10, CUDA 13.0; unsloth-zoo #1053), 300 to 400 in general (pytorch #107667, #109888).
  Kernels come to that as they are first used; nobody says how much, and 256 MiB are reckoned with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

from dpnb.planning.layouts import Result

aten = torch.ops.aten

MIB = 1 << 20

HALF = (torch.float16, torch.bfloat16)

PASCAL, VOLTA, TURING = (6, 0), (7, 0), (7, 5)
AMPERE, ADA, HOPPER, BLACKWELL = (8, 0), (8, 9), (9, 0), (10, 0)

CONTEXTS = {
    PASCAL: 250 * MIB,
    VOLTA: 300 * MIB,
    TURING: 200 * MIB,
    AMPERE: 256 * MIB,
    ADA: 350 * MIB,
    HOPPER: 450 * MIB,
    BLACKWELL: 450 * MIB,
}
"""Bytes of a context before anything is computed, by the first capability of a generation."""

KERNELS = 256 * MIB
"""What kernels add to it at the most, as they are loaded one by one."""

WIDEST_FLASH_HEAD = 256
WIDEST_KEPT_HEAD = 128
"""Up to which the memory-efficient kernel adds up where its output is."""

ATTENTION = aten._scaled_dot_product_flash_attention_for_cpu.default


class AttentionKind(Enum):
    """Torch's kernels of attention."""

    FLASH = "flash"
    EFFICIENT = "memory-efficient"
    MATH = "plain"


@dataclass(frozen=True)
class CardLibraries:
    """What the libraries of one card take.

    Args:
        capability: of its architecture, as `torch.cuda.get_device_capability` says it.
    """

    capability: tuple[int, int]

    @property
    def context(self) -> tuple[int, int]:
        """The least and the most bytes of a process's context."""
        least = next(
            (
                CONTEXTS[first]
                for first in sorted(CONTEXTS, reverse=True)
                if first <= self.capability
            ),
            CONTEXTS[PASCAL],
        )
        return least, least + KERNELS

    def workspaces(self, environment: Mapping[str, str] | None = None) -> tuple[int, int]:
        """Bytes that torch keeps for cuBLAS and for cuBLASLt, on one stream.

        Args:
            environment: its variables; those of this process by default.
        """
        variables = os.environ if environment is None else environment
        pools = re.findall(r":(\d+):(\d+)", variables.get("CUBLAS_WORKSPACE_CONFIG", ""))
        if pools:
            blas = sum(int(size) * int(count) for size, count in pools) << 10
        else:
            blas = 32 * MIB if self.capability >= HOPPER else (2 * 4096 + 8 * 16) << 10
        light = variables.get("CUBLASLT_WORKSPACE_SIZE", "")
        return blas, int(light) << 10 if light.isdecimal() else MIB

    def lacks(self, dtype: torch.dtype) -> bool:
        """Whether its libraries have no kernels for networks in `dtype`."""
        return dtype is torch.bfloat16 and self.capability < AMPERE

    def attention(self, dtype: torch.dtype, head: int, *, has_mask: bool) -> AttentionKind:
        """The kernel that torch chooses by itself.

        Args:
            dtype: of queries, keys and values.
            head: how wide one is.
            has_mask: whether there is one, other than causality.
        """
        if dtype not in (*HALF, torch.float32):
            return AttentionKind.MATH
        is_flash = dtype in HALF and self.capability >= AMPERE and head <= WIDEST_FLASH_HEAD
        return AttentionKind.FLASH if is_flash and not has_mask else AttentionKind.EFFICIENT

    def attention_scratch(self, query: Tensor, value: Tensor, *, has_mask: bool) -> int:
        """Bytes beside the output and float32 numbers `[batch, heads, rows]`.

        Args:
            query: `[batch, heads, rows, width]`.
            value: `[batch, heads, columns, width]`.
            has_mask: whether there is a mask.
        """
        batch, heads, rows, _ = query.shape
        match self.attention(query.dtype, value.shape[-1], has_mask=has_mask):
            case AttentionKind.FLASH:
                return 0
            case AttentionKind.EFFICIENT:
                is_kept = query.dtype is torch.float32 or value.shape[-1] <= WIDEST_KEPT_HEAD
                return 0 if is_kept else 4 * batch * heads * rows * value.shape[-1]
            case AttentionKind.MATH:
                scores = batch * heads * rows * value.shape[2]
                return 2 * scores * query.element_size()

    def convolution_scratch(self, given: Tensor, weight: Tensor, made: int) -> int:
        """Bytes of what cuDNN converts, at the most.

        Args:
            given: the input, `[batch, channels, …]`.
            weight: `[channels out, channels in of a group, …]`.
            made: bytes of the output.
        """
        is_depthwise = weight.shape[1] == 1 and given.shape[1] > 1
        has_channels_last = weight.dim() == 4 and weight.stride(1) == 1 and weight.shape[1] > 1
        if is_depthwise or has_channels_last:
            return 0
        taken = given.numel() * given.element_size()
        if given.dtype in HALF:
            # Without matrix units it computes in float32.
            return (taken + made + weight.nbytes) * (1 if self.capability >= VOLTA else 2)
        if given.dtype is torch.float32 and self.capability >= AMPERE:
            return taken + weight.nbytes
        return 0

    def scratch(
        self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], result: Result
    ) -> int:
        """Bytes that an operation's kernel takes beside tensors.

        Args:
            func: the operator.
            args: that it is given.
            kwargs: that it is given by name.
            result: what it makes.
        """
        if func is aten.convolution.default:
            shape, _, dtype = result.layouts[0]
            return self.convolution_scratch(
                args[0], args[1], torch.Size(shape).numel() * dtype.itemsize
            )
        if func is ATTENTION:
            has_mask = kwargs.get("attn_mask") is not None
            return self.attention_scratch(args[0], args[2], has_mask=has_mask)
        return 0
