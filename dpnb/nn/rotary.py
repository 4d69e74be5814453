"""Attention with rotary position embeddings: queries and keys are rotated by their positions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.attention import Attention

THETA = 10000.0
"""The base of the frequencies: the slowest is about `THETA` times slower than the fastest."""

EPS = 1e-6


def rotary_table(positions: Tensor, widths: Sequence[int]) -> Tensor:
    """The rotation of each pair of a head's channels at each position.

    Su et al. (2021), RoFormer, arXiv:2104.09864, section 3.4.2; each axis has some of the
    channels.

    Args:
        positions: `[tokens, axes]`.
        widths: how many channels rotate with each axis; even.

    Returns:
        `[tokens, 1, sum(widths) / 2]`, complex numbers of length 1, computed in float64 where the
        device has it.
    """
    kind = torch.float32 if positions.device.type == "mps" else torch.float64
    angles = []
    for axis, width in enumerate(widths):
        steps = torch.arange(0, width, 2, dtype=kind, device=positions.device)
        angles.append(torch.outer(positions[:, axis].to(kind), THETA ** (-steps / width)))
    angles_of_all = torch.cat(angles, dim=1)
    return torch.complex(angles_of_all.cos().float(), angles_of_all.sin().float()).unsqueeze(1)


def apply_rotary(x: Tensor, table: Tensor) -> Tensor:
    """`x` `[batch, tokens, heads, head_dim]` rotated by its positions, overwriting it.

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
    """Self-attention of normalised queries and keys that are rotated by their positions.

    The output is not projected: that is left to the block.

    Args:
        dim: channels of the tokens.
        heads: number of heads.
        head_dim: channels of one head.
        joins_context: whether it takes a context, of `dim` channels too, whose tokens have
            projections of their own and attend like all others.
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
    def fusible_layers(self) -> dict[str, tuple[str, ...]]:
        added = {"to_added_qkv": ("add_q_proj", "add_k_proj", "add_v_proj")}
        return super().fusible_layers | (added if self.joins_context else {})

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
            The output of all tokens, those of the context first:
            `[batch, context tokens + tokens, heads * head_dim]`.
        """
        query, key, value = self._view_heads(*self.projection(self, tokens, tokens))
        query = self.norm_q(query)
        key = self.norm_k(key)
        if context is not None:
            added = self._view_heads(*self.projection.project_added(self, context))
            query = torch.cat((self.norm_added_q(added[0]), query), dim=1)
            key = torch.cat((self.norm_added_k(added[1]), key), dim=1)
            value = torch.cat((added[2], value), dim=1)
            del added
        if rotary is not None:
            query, key = apply_rotary(query, rotary), apply_rotary(key, rotary)
        out = self.kernel(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        del query, key, value
        return self.merge_heads(out)

    def _view_heads(self, *parts: Tensor) -> tuple[Tensor, ...]:
        batch, length, _ = parts[0].shape
        return tuple(part.view(batch, length, self.heads, self.head_dim) for part in parts)
