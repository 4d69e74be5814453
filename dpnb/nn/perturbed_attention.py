"""Attention whose map is replaced by the identity, so that every token sees itself alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from dpnb.nn.attention import Attention


def attend_to_self(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """An attention kernel whose map is the identity: the values, `[batch, heads, tokens, dim]`."""
    return value


@contextmanager
def perturb_attention(attentions: Iterable[Attention]) -> Iterator[None]:
    """Within it every token of these self-attentions sees itself alone."""
    former = [(attention, attention.kernel) for attention in attentions]
    try:
        for attention, _ in former:
            attention.kernel = attend_to_self
        yield
    finally:
        for attention, kernel in former:
            attention.kernel = kernel


def find_self_attentions(network: nn.Module, layers: Sequence[str]) -> list[Attention]:
    """The self-attentions of a network in whose names one of `layers` is found.

    Args:
        network: any.
        layers: regular expressions, such as `"mid"`, `"down_blocks.1"` or `"up_blocks.(0|1)"`.

    Raises:
        ValueError: one of them is no regular expression, or finds no layer.
    """
    named = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, Attention) and not module.is_cross_attention
    ]
    found: dict[Attention, None] = {}
    for layer in layers:
        try:
            own = [module for name, module in named if re.search(layer, name)]
        except re.error as error:
            raise ValueError(f"{layer!r} is no regular expression: {error}.") from None
        if not own:
            blocks = sorted({_block(name) for name, _ in named})
            raise ValueError(
                f"no self-attention of {type(network).__name__} is called {layer!r}; it has some "
                f"in {', '.join(blocks) or 'no block'}."
            )
        found |= dict.fromkeys(own)
    return list(found)


def _block(name: str) -> str:
    """The block that a layer is in, by the first words of the layer's name."""
    first, second, *_ = name.split(".")
    return f"{first}.{second}" if second.isdecimal() else first
