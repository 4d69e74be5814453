"""A stand-in for xFormers, which cannot run everywhere: its interface, computed by torch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F


class Ops(ModuleType):
    """The part of `xformers.ops` that is used, and what it was asked for.

    Attributes:
        asked: shape of the queries and operator of every call.
        widest: heads wider than this are refused.
        refused: likewise heads of this dtype.
    """

    def __init__(self) -> None:
        super().__init__("xformers.ops")
        self.asked: list[SimpleNamespace] = []
        self.widest = 1 << 20
        self.refused: torch.dtype | None = None
        self.MemoryEfficientAttentionFlashAttentionOp = (object(), object())

    def memory_efficient_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        op: Any = None,
        scale: float | None = None,
    ) -> Tensor:
        """Attention of `[batch, tokens, heads, head_dim]`."""
        self.asked.append(SimpleNamespace(shape=tuple(query.shape), op=op))
        if query.shape[-1] > self.widest or query.dtype == self.refused:
            raise NotImplementedError(
                "No operator found for `memory_efficient_attention_forward` with inputs:\n"
                f"     query: shape={tuple(query.shape)}"
            )
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2)


@pytest.fixture(autouse=True)
def xformers() -> Iterator[Ops]:
    """`import xformers` finds the stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        package, ops = ModuleType("xformers"), Ops()
        package.ops = ops  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "xformers", package)
        patch.setitem(sys.modules, "xformers.ops", ops)
        yield ops
