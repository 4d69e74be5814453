"""How much attention each token receives, without holding the attention map in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from dpnb.nn.attention import Attention
from dpnb.nn.attention_kernels import QUERIES_AT_ONCE, Kernel


@dataclass
class RecordingKernel:
    """Attends by `inner`, and records how much attention every token receives.

    Args:
        inner: the kernel.
        entries: how many entries of the batch are recorded, from the first.

    Attributes:
        received: of the last call, see `attention_received`; `None` before the first.
    """

    inner: Kernel
    entries: int
    received: Tensor | None = None

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend."""
        self.received = attention_received(query[: self.entries], key[: self.entries])
        return self.inner(query, key, value)


@contextmanager
def record_attention(attention: Attention, entries: int) -> Iterator[RecordingKernel]:
    """Within it the attention of the first `entries` of the batch is recorded."""
    kernel = attention.kernel
    attention.kernel = recording = RecordingKernel(kernel, entries)
    try:
        yield recording
    finally:
        attention.kernel = kernel


def attention_received(query: Tensor, key: Tensor) -> Tensor:
    """How much attention each token receives from all queries together, the mean over the heads.

    The map is made for one head and some queries at a time.

    Args:
        query: `[batch, heads, queries, head_dim]`.
        key: `[batch, heads, tokens, head_dim]`.

    Returns:
        `[batch, tokens]`, float32; a row's sum is the number of queries.
    """
    batch, heads, rows, width = query.shape
    received = torch.zeros(batch, key.shape[2], device=query.device)
    for head in range(heads):
        towards = key[:, head].float().transpose(1, 2)
        for row in range(0, rows, QUERIES_AT_ONCE):
            scores = query[:, head, row : row + QUERIES_AT_ONCE].float() @ towards
            received += (scores / math.sqrt(width)).softmax(dim=-1).sum(dim=1)
    return received / heads
