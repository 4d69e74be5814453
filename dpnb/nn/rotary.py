"""Attention that knows where its tokens are: queries and keys are turned by their positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.attention import Attention

THETA = 10000.0
"""The slowest wave turns so many times slower than the fastest."""

EPS = 1e-6


def rotary_table(positions: Tensor, widths: Sequence[int]) -> Tensor:
    """How far the channels of a head are turned at each position.

    Su et al. (2021), RoFormer, arXiv:2104.09864, section 3.4.2, one share of the channels for each
    axis.

    Args:
        positions: `[tokens, axes]`.
        widths: how many channels turn with each axis; even.

    Returns:
        `[tokens, 1, sum(widths) / 2]`, complex numbers of length 1, computed in float64 where the
        device has it.
    """
    kind = torch.float32 if positions.device.type == "mps" else torch.float64
    angles = []
    for axis, width in enumerate(widths):
        steps = torch.arange(0, width, 2, dtype=kind, device=positions.device)
        angles.append(torch.outer(positions[:, axis].to(kind), THETA ** (-steps / width)))
    turned = torch.cat(angles, dim=1)
    return torch.complex(turned.cos().float(), turned.sin().float()).unsqueeze(1)


def turn(x: Tensor, table: Tensor) -> Tensor:
    """`x` `[batch, tokens, heads, head_dim]` turned by its positions, overwriting it.

    Neighbouring channels are the two parts of a complex number, which `table` multiplies in
    float32.
    """
    wide = x.float() if x.element_size() < 4 else x
    pairs = torch.view_as_complex(wide.view(*x.shape[:-1], -1, 2))
    if torch.is_grad_enabled():
        return torch.view_as_real(pairs * table).flatten(-2).to(x.dtype)
    pairs.mul_(table)
    return x if wide is x else x.copy_(wide)


class RotaryAttention(Attention):
    """Self-attention of normalised queries and keys that are turned by their positions.

    What is found is not projected: that is left to the block.

    Args:
        dim: channels of the tokens.
        heads: number of heads.
        head_dim: channels of one head.
        joins_context: whether tokens of a context, of `dim` channels too, have matrices of their
            own here, and attend like all others.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, *, joins_context: bool = False) -> None:
        super().__init__(dim, heads, head_dim, bias=True, projects_out=joins_context)
        inner_dim = heads * head_dim
        self.joins_context = joins_context
        self.norm_q = nn.RMSNorm(head_dim, eps=EPS)
        self.norm_k = nn.RMSNorm(head_dim, eps=EPS)
        if joins_context:
            self.norm_added_q = nn.RMSNorm(head_dim, eps=EPS)
            self.norm_added_k = nn.RMSNorm(head_dim, eps=EPS)
            self.add_q_proj = nn.Linear(dim, inner_dim)
            self.add_k_proj = nn.Linear(dim, inner_dim)
            self.add_v_proj = nn.Linear(dim, inner_dim)
            self.to_add_out = nn.Linear(inner_dim, dim)

    @property
    @override
    def dtype(self) -> torch.dtype:
        return self.norm_q.weight.dtype

    @property
    @override
    def joins(self) -> dict[str, tuple[str, ...]]:
        added = {"to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj")}
        return super().joins | (added if self.joins_context else {})

    @override
    def forward(
        self, tokens: Tensor, context: Tensor | None = None, rotary: Tensor | None = None
    ) -> Tensor:
        """Attend.

        Args:
            tokens: `[batch, tokens, dim]`.
            context: further tokens, `[batch, context tokens, dim]`, where the layer joins a
                context.
            rotary: the table of all positions, those of the context first; `None` for tokens
                without positions.

        Returns:
            What all tokens find, those of the context first:
            `[batch, context tokens + tokens, heads * head_dim]`.
        """
        query, key, value = self._headed(*self.projection(self, tokens, tokens))
        query = self.norm_q(query)
        key = self.norm_k(key)
        if context is not None:
            added = self._headed(*self.projection.added(self, context))
            query = torch.cat((self.norm_added_q(added[0]), query), dim=1)
            key = torch.cat((self.norm_added_k(added[1]), key), dim=1)
            value = torch.cat((added[2], value), dim=1)
            del added
        if rotary is not None:
            query, key = turn(query, rotary), turn(key, rotary)
        out = self.kernel(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        del query, key, value
        return self.joined(out)

    def _headed(self, *parts: Tensor) -> tuple[Tensor, ...]:
        batch, length, _ = parts[0].shape
        return tuple(part.view(batch, length, self.heads, self.head_dim) for part in parts)
