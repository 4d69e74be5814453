"""How an attention layer makes its queries, keys and values.

A projection takes the layer, its tokens `[batch, tokens, dim]` and the tokens that it looks at, and
returns query, key and value, each `[batch, tokens, heads * head_dim]`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from dpnb.nn.attention import Attention


class Projection(Protocol):
    """Fills `Attention.projection`."""

    def __call__(
        self, attention: Attention, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of `tokens` that look at `context`."""
        ...


def project_separately(
    attention: Attention, tokens: Tensor, context: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Three matrix products, as the checkpoints store them."""
    return attention.to_q(tokens), attention.to_k(context), attention.to_v(context)
