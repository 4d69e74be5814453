"""Transformer blocks over the positions of a feature map."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dpnb.nn.attention import Attention
from dpnb.nn.owned import add, multiply

CHUNKS = 4
"""A feed-forward layer runs over this many shares of its tokens, one after the other."""

LEAST_ROWS = 1024
"""A share is not made smaller than this: matrix products lose speed below."""


class GEGLU(nn.Module):
    """A linear layer gated by a GELU (Shazeer 2020, arXiv:2002.05202, section 2)."""

    def __init__(self, dim: int, inner_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map `[..., dim]` to `[..., inner_dim]`."""
        value, gate = self.proj(tokens).chunk(2, dim=-1)
        return multiply(F.gelu(gate), value)


class FeedForward(nn.Module):
    """A gated layer four times as wide, and back."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim)])

    def forward(self, tokens: Tensor) -> Tensor:
        """Transform `[..., dim]`."""
        gate, _, back = self.net
        return back(gate(tokens))  # type: ignore[no-any-return]


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention and a feed-forward layer, each around a residual."""

    def __init__(self, dim: int, heads: int, head_dim: int, context_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn1 = Attention(dim, heads, head_dim)
        self.norm2 = nn.LayerNorm(dim)
        self.attn2 = Attention(dim, heads, head_dim, context_dim)
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Transform the tokens `x` `[batch, tokens, dim]`, which the caller gives up."""
        x = add(x, self.attn1(self.norm1(x)))
        x = add(x, self.attn2(self.norm2(x), context))
        if torch.is_grad_enabled():
            return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]
        rows = x.view(-1, x.shape[-1])
        for share in rows.split(max(LEAST_ROWS, -(-rows.shape[0] // CHUNKS))):
            share.add_(self.ff(self.norm3(share)))
        return x


class SpatialTransformer(nn.Module):
    """Transformer blocks over a feature map, around a residual.

    Args:
        channels: channels of the feature map.
        heads: heads of every attention.
        depth: number of blocks.
        context_dim: channels of the prompt's embeddings.
        groups: groups of the norm.
        linear: project in and out by matrices (Stable Diffusion 2, XL), not 1×1 convolutions.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        depth: int,
        context_dim: int,
        *,
        groups: int,
        linear: bool,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        inner_dim = heads * (channels // heads)
        self.proj_in = _projection(channels, inner_dim, linear=linear)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(inner_dim, heads, channels // heads, context_dim)
            for _ in range(depth)
        )
        self.proj_out = _projection(inner_dim, channels, linear=linear)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Transform `x` `[batch, channels, height, width]` seeing `context` `[batch, tokens, dim]`."""
        tokens = self._tokens(x)
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        batch, _, height, width = x.shape
        if self.linear:
            tokens = self.proj_out(tokens)
            return x + tokens.transpose(1, 2).reshape(batch, -1, height, width)
        picture = tokens.transpose(1, 2).reshape(batch, -1, height, width).contiguous()
        return add(self.proj_out(picture), x)

    def _tokens(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        if self.linear:
            return self.proj_in(h.flatten(2).transpose(1, 2))  # type: ignore[no-any-return]
        return self.proj_in(h).flatten(2).transpose(1, 2).contiguous()  # type: ignore[no-any-return]


def _projection(in_dim: int, out_dim: int, *, linear: bool) -> nn.Module:
    return nn.Linear(in_dim, out_dim) if linear else nn.Conv2d(in_dim, out_dim, 1)
