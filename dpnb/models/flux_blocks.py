"""The two kinds of block in FLUX's transformer.

A block may overwrite the tokens that it is given.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from typing_extensions import override

from dpnb.nn.inplace import add_product, clamp_float16, gelu_tanh
from dpnb.nn.modulation import Modulation, modulate
from dpnb.nn.no_split import NoSplit
from dpnb.nn.rotary import RotaryAttention
from dpnb.nn.transformer import FeedForward, rows_at_once


class JointBlock(NoSplit):
    """Joint attention of picture and prompt; each has projections and a feed-forward layer."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm1 = Modulation(dim, 6)
        self.norm1_context = Modulation(dim, 6)
        self.attn = RotaryAttention(dim, heads, head_dim, joins_context=True)
        self.ff = FeedForward(dim, gated=False)
        self.ff_context = FeedForward(dim, gated=False)

    @override
    def forward(
        self, tokens: Tensor, context: Tensor, time: Tensor, rotary: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Transform the picture's tokens and the prompt's.

        Args:
            tokens: `[batch, tokens, dim]`.
            context: `[batch, context tokens, dim]`.
            time: the activated time embedding, `[batch, dim]`.
            rotary: the table of all positions, those of the context first.
        """
        shift, scale, gate, *of_tokens = self.norm1(time)
        context_shift, context_scale, context_gate, *of_context = self.norm1_context(time)
        out = self.attn(
            modulate(tokens, scale, shift),
            modulate(context, context_scale, context_shift),
            rotary,
        )
        length = context.shape[1]
        tokens = add_product(tokens, gate, self.attn.to_out[0](out[:, length:]))
        context = add_product(context, context_gate, self.attn.to_add_out(out[:, :length]))
        del out
        tokens = feed_forward(tokens, self.ff, *of_tokens)
        return tokens, clamp_float16(feed_forward(context, self.ff_context, *of_context))


class SingleBlock(NoSplit):
    """Attention and a feed-forward layer in parallel, over the tokens of prompt and picture."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.norm = Modulation(dim, 3)
        self.proj_mlp = nn.Linear(dim, 4 * dim)
        self.proj_out = nn.Linear(5 * dim, dim)
        self.attn = RotaryAttention(dim, heads, head_dim)

    @override
    def forward(self, tokens: Tensor, time: Tensor, rotary: Tensor | None) -> Tensor:
        """Transform `tokens` `[batch, tokens, dim]`; see `JointBlock` for the rest."""
        shift, scale, gate = self.norm(time)
        normed = modulate(tokens, scale, shift)
        attended = self.attn(normed, rotary=rotary)
        if torch.is_grad_enabled():
            return clamp_float16(tokens + gate * self._project(attended, normed))
        rows = rows_at_once(tokens.shape[1])
        parts = (part.split(rows, dim=1) for part in (tokens, attended, normed))
        for share, *inputs in zip(*parts, strict=True):
            share.addcmul_(gate, self._project(*inputs))
        return clamp_float16(tokens)

    def _project(self, attended: Tensor, normed: Tensor) -> Tensor:
        wide = torch.cat((attended, gelu_tanh(self.proj_mlp(normed))), dim=-1)
        return self.proj_out(wide)  # type: ignore[no-any-return]


def feed_forward(
    tokens: Tensor, layer: FeedForward, shift: Tensor, scale: Tensor, gate: Tensor
) -> Tensor:
    """`tokens` `[batch, tokens, dim]` plus a modulated and gated feed-forward layer."""
    if torch.is_grad_enabled():
        return tokens + gate * layer(modulate(tokens, scale, shift))  # type: ignore[no-any-return]
    for share in tokens.split(rows_at_once(tokens.shape[1]), dim=1):
        share.addcmul_(gate, layer(modulate(share, scale, shift)))
    return tokens
