"""Attention kernels: how queries, keys and values become an output.

A kernel takes and returns tensors of shape `[batch, heads, tokens, head_dim]`.
"""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional as F

AttentionKernel: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]


def sdpa(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Torch's fused attention; it never builds the attention matrix where a fused kernel runs."""
    return F.scaled_dot_product_attention(query, key, value)
