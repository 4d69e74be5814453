"""Transformer blocks, feed-forward layers, and the transformer over a feature map."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dpnb.nn.attention import Attention
from dpnb.nn.channel_projection import ToFeatureMap, ToTokens
from dpnb.nn.checkpointing import Checkpointed
from dpnb.nn.inplace import add, gelu_tanh, multiply

CHUNKS = 4
"""A feed-forward layer runs over its tokens in this many chunks, one after the other."""

LEAST_ROWS = 1024
"""Tokens of a chunk, at least: smaller matrix products are slow."""


def rows_at_once(count: int) -> int:
    """Tokens of one chunk, where a feed-forward layer runs over `count`."""
    return max(LEAST_ROWS, -(-count // CHUNKS))


class GEGLU(nn.Module):
    """A linear layer gated by a GELU (Shazeer 2020, arXiv:2002.05202, section 2)."""

    def __init__(self, dim: int, inner_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * inner_dim)

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        """Map `[..., dim]` to `[..., inner_dim]`."""
        value, gate = self.proj(tokens).chunk(2, dim=-1)
        return multiply(F.gelu(gate), value)


class GELU(nn.Module):
    """A linear layer and a GELU."""

    def __init__(self, dim: int, inner_dim: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, inner_dim)

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        """Map `[..., dim]` to `[..., inner_dim]`."""
        return gelu_tanh(self.proj(tokens))


class FeedForward(nn.Module):
    """A linear layer to four times the channels, and one back.

    Args:
        dim: channels of the tokens.
        gated: whether the wide layer is gated.
    """

    def __init__(self, dim: int, *, gated: bool = True) -> None:
        super().__init__()
        wide = GEGLU(dim, 4 * dim) if gated else GELU(dim, 4 * dim)
        self.net = nn.ModuleList([wide, nn.Identity(), nn.Linear(4 * dim, dim)])

    @override
    def forward(self, tokens: Tensor) -> Tensor:
        """Transform `[..., dim]`."""
        gate, _, back = self.net
        return back(gate(tokens))  # type: ignore[no-any-return]


class TransformerBlock(Checkpointed):
    """Self-attention, cross-attention and a feed-forward layer, each around a residual.

    Args:
        dim: channels of the tokens.
        heads: heads of both attentions.
        head_dim: channels of one head.
        context_dim: channels of the context.
        sees_context_alone: the first attention is to the context, too.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        head_dim: int,
        context_dim: int,
        *,
        sees_context_alone: bool = False,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn1 = Attention(dim, heads, head_dim, context_dim if sees_context_alone else None)
        self.norm2 = nn.LayerNorm(dim)
        self.attn2 = Attention(dim, heads, head_dim, context_dim)
        self.norm3 = nn.LayerNorm(dim)
        self.ff = FeedForward(dim)

    @override
    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Transform the tokens `x` `[batch, tokens, dim]`, which may be overwritten."""
        seen = context if self.attn1.is_cross_attention else None
        x = add(x, self.attn1(self.norm1(x), seen))
        x = add(x, self.attn2(self.norm2(x), context))
        if torch.is_grad_enabled():
            return x + self.ff(self.norm3(x))  # type: ignore[no-any-return]
        rows = x.view(-1, x.shape[-1])
        for share in rows.split(rows_at_once(rows.shape[0])):
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
        linear: the matrices in and out are stored as linear layers (Stable Diffusion 2, XL), not as
            1×1 convolutions.
        sees_context_alone: positions do not attend to each other.
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
        sees_context_alone: bool = False,
    ) -> None:
        super().__init__()
        inner_dim = heads * (channels // heads)
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = ToTokens(channels, inner_dim, pointwise=not linear)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(
                inner_dim,
                heads,
                channels // heads,
                context_dim,
                sees_context_alone=sees_context_alone,
            )
            for _ in range(depth)
        )
        self.proj_out = ToFeatureMap(inner_dim, channels, pointwise=not linear)

    @override
    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Transform `x` `[batch, channels, h, w]`, with `context` `[batch, tokens, dim]`."""
        tokens = self.proj_in(self.norm(x))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return add(self.proj_out(tokens, x), x)
