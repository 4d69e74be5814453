"""Projections: how an attention layer makes query, key and value.

A projection takes the layer, its tokens `[batch, tokens, dim]` and the context that they attend to,
and returns query, key and value, each `[batch, tokens, heads * head_dim]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn


class ProjectedLayer(Protocol):
    """What a projection needs of an attention layer: its linear layers."""

    is_cross_attention: bool
    to_q: nn.Linear
    to_k: nn.Linear
    to_v: nn.Linear

    def get_submodule(self, target: str) -> nn.Module:
        """Its linear layer of this name."""
        ...


class Projection(Protocol):
    """Fills `Attention.projection`."""

    def __call__(
        self, attention: ProjectedLayer, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query of `tokens`, key and value of `context`."""
        ...

    def project_key_value(
        self, attention: ProjectedLayer, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Key and value of `context` alone, in cross-attention."""
        ...

    def project_added(
        self, attention: ProjectedLayer, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of a `context` that attends together with the tokens."""
        ...


class SeparateProjection:
    """Three matrix products, as the checkpoints store them."""

    def __call__(
        self, attention: ProjectedLayer, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value."""
        return attention.to_q(tokens), *self.project_key_value(attention, context)

    def project_key_value(
        self, attention: ProjectedLayer, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Key and value."""
        return attention.to_k(context), attention.to_v(context)

    def project_added(
        self, attention: ProjectedLayer, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value, by the layers `add_q_proj`, `add_k_proj` and `add_v_proj`."""
        query, key, value = (attention.get_submodule(f"add_{kind}_proj") for kind in "qkv")
        return query(context), key(context), value(context)


class FusedProjection:
    """One matrix product for query, key and value, or one for the key and value of a context.

    The layer has then the children `to_qkv`, or `to_q` and `to_kv`, and for a context that attends
    together with the tokens `to_added_qkv`.
    """

    def __call__(
        self, attention: ProjectedLayer, tokens: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value: parts of one tensor."""
        if attention.is_cross_attention:
            return attention.to_q(tokens), *self.project_key_value(attention, context)
        query, key, value = attention.get_submodule("to_qkv")(tokens).chunk(3, dim=-1)
        return query, key, value

    def project_key_value(
        self, attention: ProjectedLayer, context: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Key and value: parts of one tensor."""
        key, value = attention.get_submodule("to_kv")(context).chunk(2, dim=-1)
        return key, value

    def project_added(
        self, attention: ProjectedLayer, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of a context: parts of one tensor."""
        query, key, value = attention.get_submodule("to_added_qkv")(context).chunk(3, dim=-1)
        return query, key, value


SEPARATE: Projection = SeparateProjection()
FUSED: Projection = FusedProjection()


def fuse_linears(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer whose output is those of `layers` side by side; it has a copy of their weights.

    All must have one input size, and all or none a bias.
    """
    weight = torch.cat([layer.weight.detach() for layer in layers])
    fused = nn.Linear(1, 1, bias=layers[0].bias is not None, device="meta")
    fused.in_features, fused.out_features = weight.shape[1], weight.shape[0]
    fused.weight = nn.Parameter(weight, requires_grad=layers[0].weight.requires_grad)
    if layers[0].bias is not None:
        bias = torch.cat([layer.bias.detach() for layer in layers])
        fused.bias = nn.Parameter(bias, requires_grad=layers[0].bias.requires_grad)
    return fused


def unfuse_linears(fused: nn.Linear, layers: Sequence[nn.Linear]) -> None:
    """Copy the rows of `fused` back into the `layers` that it was made of."""
    sizes = [layer.out_features for layer in layers]
    for layer, weight in zip(layers, fused.weight.detach().split(sizes), strict=True):
        layer.weight.data = weight.clone()
    if fused.bias is not None:
        for layer, bias in zip(layers, fused.bias.detach().split(sizes), strict=True):
            layer.bias.data = bias.clone()
