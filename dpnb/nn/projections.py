"""How an attention layer makes its queries, keys and values.

A projection takes the layer, its tokens `[batch, tokens, dim]` and the tokens that it looks at, and
returns query, key and value, each `[batch, tokens, heads * head_dim]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from dpnb.nn.attention import Attention


class Projection(Protocol):
    """Fills `Attention.projection`."""

    def __call__(
        self, attention: Attention, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of `tokens` that look at `context`."""
        ...

    def key_value(self, attention: Attention, context: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value of `context` alone, for a layer that looks at other tokens than its own."""
        ...

    def added(self, attention: Attention, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of a `context` that attends like the tokens themselves."""
        ...


class SeparateProjection:
    """Three matrix products, as the checkpoints store them."""

    def __call__(
        self, attention: Attention, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value."""
        return attention.to_q(tokens), *self.key_value(attention, context)

    def key_value(self, attention: Attention, context: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value."""
        return attention.to_k(context), attention.to_v(context)

    def added(self, attention: Attention, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, by matrices of the context's own."""
        query, key, value = (attention.get_submodule(f"add_{kind}_proj") for kind in "qkv")
        return query(context), key(context), value(context)


class FusedProjection:
    """One matrix product for query, key and value, or one for the key and value of a context.

    The layer's matrices are then its children `to_qkv`, or `to_q` and `to_kv`; those of a context
    that attends like the tokens are `to_added_qkv`.
    """

    def __call__(
        self, attention: Attention, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value: parts of one tensor."""
        if attention.looks_elsewhere:
            return attention.to_q(tokens), *self.key_value(attention, context)
        query, key, value = attention.get_submodule("to_qkv")(tokens).chunk(3, dim=-1)
        return query, key, value

    def key_value(self, attention: Attention, context: Tensor) -> tuple[Tensor, Tensor]:
        """Key and value: parts of one tensor."""
        key, value = attention.get_submodule("to_kv")(context).chunk(2, dim=-1)
        return key, value

    def added(self, attention: Attention, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of a context: parts of one tensor."""
        query, key, value = attention.get_submodule("to_added_qkv")(context).chunk(3, dim=-1)
        return query, key, value


SEPARATE: Projection = SeparateProjection()
FUSED: Projection = FusedProjection()


def join(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer that gives the outputs of `layers` side by side; it holds a copy of their weights.

    All must have one input size, and all or none a bias.
    """
    weight = torch.cat([layer.weight.detach() for layer in layers])
    joined = nn.Linear(1, 1, bias=layers[0].bias is not None, device="meta")
    joined.in_features, joined.out_features = weight.shape[1], weight.shape[0]
    joined.weight = nn.Parameter(weight, requires_grad=layers[0].weight.requires_grad)
    if layers[0].bias is not None:
        bias = torch.cat([layer.bias.detach() for layer in layers])
        joined.bias = nn.Parameter(bias, requires_grad=layers[0].bias.requires_grad)
    return joined


def part(joined: nn.Linear, layers: Sequence[nn.Linear]) -> None:
    """Give the rows of `joined` back to the `layers` that it was made of."""
    sizes = [layer.out_features for layer in layers]
    for layer, weight in zip(layers, joined.weight.detach().split(sizes), strict=True):
        layer.weight.data = weight.clone()
    if joined.bias is not None:
        for layer, bias in zip(layers, joined.bias.detach().split(sizes), strict=True):
            layer.bias.data = bias.clone()
