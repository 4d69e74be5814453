"""From texts to the embeddings that a network is conditioned on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor, nn

from dpnb.numbers import parse_int

logger = logging.getLogger(__name__)

SHOWN = 200
"""Characters of a text in a warning."""


def tokenize(
    tokenizer: Any, texts: Sequence[str], device: torch.device, length: int | None = None
) -> Tensor:
    """Token ids, padded and cut to `length` or else the tokenizer's own, `[texts, tokens]`.

    What is cut off is logged as a warning.
    """
    length = tokenizer.model_max_length if length is None else length
    full = tokenizer(list(texts), padding=False, truncation=False, verbose=False).input_ids
    for ids in full:
        if len(ids) > length:
            left_out = tokenizer.decode(ids[length - 1 : -1])
            logger.warning(
                "A prompt is longer than the %d tokens that the text encoder reads; left out: %r.",
                length,
                shorten(left_out, SHOWN),
            )
    padded = tokenizer(
        list(texts),
        padding="max_length",
        max_length=length,
        truncation=True,
        return_tensors="pt",
    )
    return padded.input_ids.to(device)  # type: ignore[no-any-return]


def encode_tokens(text_encoder: Any, ids: Tensor, clip_skip: int | None) -> Tensor:
    """The last hidden states, normalised; with `clip_skip` those of a layer before the last.

    Args:
        text_encoder: CLIP's.
        ids: `[texts, tokens]`.
        clip_skip: how many layers to leave out at the end.

    Returns:
        `[texts, tokens, channels]`.
    """
    if clip_skip is None:
        return text_encoder(ids).last_hidden_state  # type: ignore[no-any-return]
    states = select_hidden_states(text_encoder(ids, output_hidden_states=True), clip_skip + 1)
    norm: Any = find_final_norm(text_encoder)
    return norm(states.to(norm.weight.dtype)).to(states.dtype)  # type: ignore[no-any-return]


def select_hidden_states(output: Any, from_end: int) -> Tensor:
    """The hidden states `from_end` places from the end, where 1 is the last layer's.

    Raises:
        ValueError: the encoder does not have so many layers.
    """
    states = output.hidden_states
    if not 1 <= from_end <= len(states):
        raise ValueError(
            f"clip_skip leaves out more layers than there are; this text encoder has "
            f"{len(states) - 1}, give a smaller number."
        )
    return states[-from_end]  # type: ignore[no-any-return]


def find_final_norm(text_encoder: nn.Module) -> nn.Module:
    """The layer norm behind the last layer; transformers has had it in two places."""
    for name in ("final_layer_norm", "text_model.final_layer_norm"):
        try:
            return text_encoder.get_submodule(name)
        except AttributeError:
            continue
    raise ValueError(
        f"{type(text_encoder).__name__} has no final_layer_norm, which clip_skip needs; leave "
        "clip_skip out."
    )


def check_context(embeds: Tensor, unet: Any) -> None:
    """See to it that `unet` can attend to the embeddings of prompts.

    Args:
        embeds: `[batch, tokens, channels]`.
        unet: with a `cross_attention_dim` among its settings.

    Raises:
        ValueError: it takes another number of channels.
    """
    taken = unet.config.cross_attention_dim
    taken = taken[0] if isinstance(taken, tuple) else taken
    if embeds.shape[-1] != taken:
        raise ValueError(
            f"the prompts' embeddings have {embeds.shape[-1]} channels, and the UNet takes "
            f"{taken}; use the text encoders that belong to this UNet."
        )


def repeat_each(embeds: Tensor, count: int) -> Tensor:
    """Every entry of the batch `count` times in a row."""
    count = parse_int("num_images_per_prompt", count, least=1)
    return embeds if count == 1 else embeds.repeat_interleave(count, dim=0)


def prepend_negative(negative: Tensor | None, given: Tensor) -> Tensor:
    """The embeddings of a guided batch, the negative ones first; without guidance `given` alone.

    Raises:
        ValueError: they differ in shape.
    """
    if negative is not None and negative.shape != given.shape:
        raise ValueError(
            f"the prompt's embeddings have shape {tuple(given.shape)} and the negative prompt's "
            f"{tuple(negative.shape)}; give both as embeddings of one shape."
        )
    return given if negative is None else torch.cat((negative, given))


def as_list(texts: str | list[str], count: int) -> list[str]:
    """One text for each of `count` prompts."""
    return [texts] * count if isinstance(texts, str) else texts
