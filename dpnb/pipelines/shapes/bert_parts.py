"""A tokenizer and a text encoder as the first latent diffusion models have them, without values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def bert_parts(
    settings: Mapping[str, Any], complete: Callable[[nn.Module], object]
) -> tuple[Any, Any]:
    """A tokenizer that spells words out, and a text encoder of the shape of `settings`.

    Args:
        settings: of `LDMBertConfig`.
        complete: gives every parameter of the text encoder, which is on the meta device, a value.
    """
    from accelerate import init_empty_weights

    from dpnb.models.ldm_bert import LDMBertConfig, LDMBertModel

    config = LDMBertConfig(**settings)
    with init_empty_weights(include_buffers=False):
        encoder = LDMBertModel(config)
    complete(encoder)
    return spelling_bert_tokenizer(config.max_position_embeddings), encoder


def spelling_bert_tokenizer(length: int) -> Any:
    """BERT's tokenizer whose tokens are single letters, begun and continued."""
    from transformers import BertTokenizer

    letters = [chr(code) for code in range(33, 127)]
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return BertTokenizer(vocab=vocabulary, model_max_length=length)
