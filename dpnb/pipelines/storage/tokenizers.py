"""Tokenizers and the text encoders that read their tokens: whether they belong together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from dpnb.errors import CheckpointError

ENCODERS: Mapping[str, tuple[str, ...]] = {
    "tokenizer": ("text_encoder", "bert"),
    "tokenizer_2": ("text_encoder_2",),
}
"""Who reads the tokens of which tokenizer, by the names of components."""


def match_tokenizers(parts: Mapping[str, Any], loaded: Collection[str], source: str) -> None:
    """Give each tokenizer that was loaded no more length than its text encoder has positions.

    Args:
        parts: components by name, those of transformers.
        loaded: the names of those that were loaded; the others are the caller's own.
        source: where they were loaded from, for errors.

    Raises:
        CheckpointError: a tokenizer has a length that is none.
    """
    for name, readers in ENCODERS.items():
        encoder = next((parts[n] for n in readers if parts.get(n) is not None), None)
        if name in loaded and name in parts and encoder is not None:
            _match(name, parts[name], encoder, source)


def _match(name: str, tokenizer: Any, encoder: Any, source: str) -> None:
    length = tokenizer.model_max_length
    if not isinstance(length, (int, float)) or not length >= 2:
        raise CheckpointError(
            f"{source}: {name} has a model_max_length of {length!r}; it must be a number of "
            "tokens, and 2 at the least."
        )
    positions = encoder.config.to_dict().get("max_position_embeddings")
    if positions is not None:
        tokenizer.model_max_length = int(min(length, positions))
