"""Contexts of which some tokens do not count: a network sees those that do, entry by entry.

That is what a mask amounts to: a masked token has no weight in any attention.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree


def predict_by_row(predict: Callable[..., Any], mask: Tensor, inputs: Mapping[str, Any]) -> Tensor:
    """The predictions of a network for a batch whose contexts are masked.

    Args:
        predict: the network.
        mask: which tokens count, `[batch, tokens]`: true, or 1, for those that do.
        inputs: of the network, by name; `encoder_hidden_states` is `[batch, tokens, channels]`.

    Returns:
        `[batch, channels, h, w]`.

    Raises:
        ValueError: the mask is of another shape, or no token of an entry counts.
    """
    context = inputs["encoder_hidden_states"]
    if mask.shape != context.shape[:2]:
        raise ValueError(
            f"encoder_attention_mask has shape {list(mask.shape)} and encoder_hidden_states "
            f"{list(context.shape)}; give a 1 or 0 for each token, [batch, tokens]."
        )
    counts = mask.bool()
    if not bool(counts.any(dim=1).all()):
        raise ValueError("encoder_attention_mask masks all tokens of an entry; let one count.")
    rows = []
    for row, kept in enumerate(counts):
        own = pytree.tree_map(lambda value, row=row: _select(value, row, len(mask)), dict(inputs))
        own["encoder_hidden_states"] = context[row : row + 1, kept]
        rows.append(predict(**own, return_dict=False)[0])
    return torch.cat(rows)


def _select(value: Any, row: int, batch: int) -> Any:
    is_of_batch = isinstance(value, Tensor) and value.ndim > 0 and len(value) == batch
    return value[row : row + 1] if is_of_batch else value
