"""Attention kernels: functions of query, key and value that compute attention.

A kernel takes and returns tensors of shape `[batch, heads, tokens, head_dim]`. It may overwrite the
queries, unless gradients are enabled.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dpnb.silence import silence_imports

Kernel: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]

LARGEST_FUSED_HEAD = 256
"""The widest head that has a fused kernel on CUDA; beyond, torch builds the attention matrix."""

QUERIES_AT_ONCE = 1024
"""Queries of a wider head that attend at a time."""


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Torch's fused attention; it never builds the attention matrix where a fused kernel runs."""
    return F.scaled_dot_product_attention(query, key, value)


def plain_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention written out: two products of matrices, with the attention matrix between them.

    On a CPU, with gradients, it is half again as fast as torch's fused one for small matrices.
    """
    shape = query.shape
    query, key, value = (part.flatten(0, 1) for part in (query, key, value))
    weights = (query @ key.mT * shape[-1] ** -0.5).softmax(dim=-1).to(value.dtype)
    attended: Tensor = weights @ value
    return attended.view(shape)


@dataclass(frozen=True)
class PartlyPerturbedKernel:
    """Attends, but for the last entries of a batch, in which every token sees itself alone.

    Args:
        looks: at each latent, of which the last is perturbed; the batch holds them one after the
            other.
    """

    looks: int

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend."""
        count = len(value) - len(value) // self.looks
        attended = sdpa(query[:count], key[:count], value[:count])
        return torch.cat((attended, value[count:]))


@dataclass(frozen=True)
class SlicedKernel:
    """Runs `inner` over a few heads at a time, and over a few queries of a very wide head.

    The output overwrites the queries, slice by slice, so that only one slice needs memory of its
    own.

    Args:
        inner: the kernel of one slice.
        heads: heads in a slice.
    """

    inner: Kernel
    heads: int

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend."""
        out = torch.empty_like(query) if torch.is_grad_enabled() else query
        is_wide = query.shape[-1] > LARGEST_FUSED_HEAD
        rows = min(QUERIES_AT_ONCE, query.shape[2]) if is_wide else query.shape[2]
        for head in range(0, query.shape[1], self.heads):
            heads = slice(head, head + self.heads)
            for row in range(0, query.shape[2], rows):
                part = slice(row, row + rows)
                result = self.inner(query[:, heads, part], key[:, heads], value[:, heads])
                out[:, heads, part] = result
                del result
        return _own_memory(out)


def _own_memory(out: Tensor) -> Tensor:
    """`out`, copied if it is part of a larger tensor, so that this one can be freed."""
    fills = out.untyped_storage().nbytes() == out.numel() * out.element_size()
    return out if fills else out.clone()


@dataclass(frozen=True)
class ChosenKernel(ABC):
    """A kernel that somebody has chosen in place of torch's own choice.

    It changes nothing outside of itself: no other layer, network or thread computes by it.
    """

    title: ClassVar[str]
    """What people call it."""
    package: ClassVar[str | None] = None
    """The module that computes it, where torch does not."""
    remedy: ClassVar[str] = ""
    """What to install, where its package is missing."""
    needs_cuda: ClassVar[bool] = False
    """Whether it is known to compute on CUDA alone."""
    builds_matrix: ClassVar[bool] = False
    """Whether it holds the whole attention matrix, so that slices of it need less memory."""

    @abstractmethod
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        """Attend; `scale` of the products is `head_dim ** -0.5` by default."""


@dataclass(frozen=True)
class XFormersKernel(ChosenKernel):
    """xFormers' memory-efficient attention (Lefaudeux et al. 2022).

    Args:
        op: the name of one of its operators in `xformers.ops`; it chooses by itself without one.
    """

    op: str | None = None
    title: ClassVar[str] = "xFormers"
    package: ClassVar[str | None] = "xformers"
    remedy: ClassVar[str] = "install dpnb[xformers]"

    @override
    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, scale: float | None = None
    ) -> Tensor:
        from xformers import ops  # type: ignore[import-not-found, unused-ignore]

        chosen = None if self.op is None else getattr(ops, self.op)
        parts = (part.transpose(1, 2) for part in (query, key, value))
        scaled = {} if scale is None else {"scale": scale}
        out: Tensor = ops.memory_efficient_attention(*parts, op=chosen, **scaled)
        return out.transpose(1, 2)


def op_name(op: Any) -> str | None:
    """The name in `xformers.ops` of one of its operators.

    Raises:
        ValueError: it is none of them.
    """
    if op is None:
        return None
    if isinstance(op, str):
        return op
    with silence_imports():
        from xformers import ops  # type: ignore[import-not-found, unused-ignore]

    names = [name for name, value in vars(ops).items() if value is op]
    if not names:
        raise ValueError(f"{op!r} is no operator of xformers.ops; give one, or its name there.")
    return str(names[0])
