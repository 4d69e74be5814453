"""A call of torch's attention with all that it may be given, whole or in slices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from dpnb.nn.attention_kernels import LARGEST_FUSED_HEAD, QUERIES_AT_ONCE

BUILDS_MATRIX = 0
"""What torch answers where none of its fused kernels serves, so that it builds the matrix."""


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """The arguments of `torch.nn.functional.scaled_dot_product_attention`, by its own names.

    Attributes:
        query: `[..., heads, tokens, head_dim]`.
        key: `[..., key heads, context tokens, head_dim]`.
        value: `[..., key heads, context tokens, value_dim]`.
        attn_mask: broadcast to `[..., heads, tokens, context tokens]`.
        dropout_p: the share of weights that are dropped.
        is_causal: whether a token sees those before it alone.
        scale: of the products; `None` for `head_dim ** -0.5`.
        enable_gqa: whether several heads of queries share one of keys and values.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None
    dropout_p: float = 0.0
    is_causal: bool = False
    scale: float | None = None
    enable_gqa: bool = False

    def compute(self) -> Tensor:
        """Attend at once, by whichever kernel torch chooses."""
        return F.scaled_dot_product_attention(
            self.query,
            self.key,
            self.value,
            self.attn_mask,
            self.dropout_p,
            self.is_causal,
            scale=self.scale,
            enable_gqa=self.enable_gqa,
        )

    @property
    def heads(self) -> int:
        """Of the queries; a call without heads has its batch in their place."""
        return self.query.shape[-3]

    @property
    def is_plain(self) -> bool:
        """Whether there is nothing but queries, keys and values of the same heads."""
        return (
            self.attn_mask is None
            and not self.dropout_p
            and not self.is_causal
            and self.query.dim() == 4
            and self.query.shape[:2] == self.key.shape[:2]
        )

    @property
    def is_sliceable(self) -> bool:
        """Whether slices attend as the whole does, up to rounding."""
        tensors = (self.query, self.key, self.value, self.attn_mask)
        is_dense = not any(tensor is not None and tensor.is_nested for tensor in tensors)
        return is_dense and self.query.dim() > 2 and self.key.dim() > 2 and not self.dropout_p

    @property
    def builds_matrix(self) -> bool:
        """Whether torch would hold the whole attention matrix."""
        choice: int = torch._fused_sdp_choice(
            self.query,
            self.key,
            self.value,
            self.attn_mask,
            self.dropout_p,
            self.is_causal,
            scale=self.scale,
            enable_gqa=self.enable_gqa,
        )
        return choice == BUILDS_MATRIX

    def select_heads(self, start: int, stop: int) -> AttentionCall:
        """The part of some heads."""
        group = self.heads // self.key.shape[-3] if self.enable_gqa else 1
        shared = slice(start // group, -(-stop // group))
        return replace(
            self,
            query=_select(self.query, -3, slice(start, stop)),
            key=_select(self.key, -3, shared),
            value=_select(self.value, -3, shared),
            attn_mask=_select_of_mask(self.attn_mask, -3, slice(start, stop)),
        )

    def select_queries(self, start: int, stop: int) -> AttentionCall:
        """The part of some queries of a call that is not causal."""
        rows = slice(start, stop)
        return replace(
            self,
            query=_select(self.query, -2, rows),
            attn_mask=_select_of_mask(self.attn_mask, -2, rows),
        )

    def split(self, heads: int) -> Iterator[Iterator[AttentionCall]]:
        """The parts of so many heads at a time, each in parts of its queries where heads are wide.

        Heads that share keys and values stay together.
        """
        group = self.heads // self.key.shape[-3] if self.enable_gqa else 1
        step = max(heads // group, 1) * group
        for start in range(0, self.heads, step):
            yield self.select_heads(start, start + step)._split_queries()

    def _split_queries(self) -> Iterator[AttentionCall]:
        tokens = self.query.shape[-2]
        is_wide = self.query.shape[-1] > LARGEST_FUSED_HEAD and not self.is_causal
        step = QUERIES_AT_ONCE if is_wide else max(tokens, 1)
        for start in range(0, max(tokens, 1), step):
            yield self.select_queries(start, start + step) if is_wide else self


def attend_in_slices(call: AttentionCall, heads: int) -> Tensor:
    """The attention of a sliceable call, over a few heads at a time.

    Args:
        call: the call.
        heads: at a time.

    Returns:
        A new tensor, `[..., heads, tokens, value_dim]`, laid out as the queries are.
    """
    if torch.is_grad_enabled():
        parts = [torch.cat([one.compute() for one in row], -2) for row in call.split(heads)]
        return torch.cat(parts, -3)
    out, head = _empty_output(call), 0
    for row in call.split(heads):
        first = width = 0
        for part in row:
            result = part.compute()
            width, length = result.shape[-3], result.shape[-2]
            out[..., head : head + width, first : first + length, :] = result
            first += length
            del result
        head += width
    return out


def _empty_output(call: AttentionCall) -> Tensor:
    width = call.value.shape[-1]
    if width == call.query.shape[-1]:
        return torch.empty_like(call.query)
    return call.query.new_empty(*call.query.shape[:-1], width)


def _select(tensor: Tensor, dim: int, part: slice) -> Tensor:
    """A part of a dimension; all of one that is broadcast."""
    size = tensor.shape[dim]
    if size == 1:
        return tensor
    start, stop, _ = part.indices(size)
    return tensor.narrow(dim, start, stop - start)


def _select_of_mask(mask: Tensor | None, dim: int, part: slice) -> Tensor | None:
    is_there = mask is not None and mask.dim() >= -dim
    return _select(mask, dim, part) if mask is not None and is_there else mask
