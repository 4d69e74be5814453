"""Text encoders of any shape without values, and tokenizers for them that need no files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from torch import nn

from dpnb.silence import silence_imports

Settings: TypeAlias = Mapping[str, Any]
Complete: TypeAlias = Callable[[nn.Module], object]

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def build_text_parts(kind: str, settings: Settings, complete: Complete) -> tuple[Any, Any]:
    """A tokenizer that spells words out, and a text encoder.

    Args:
        kind: the encoder's class in transformers, or ours.
        settings: its shape.
        complete: gives every parameter of the encoder, which is on the meta device, a value.
    """
    if kind == "LDMBertModel":
        return _build_bert(settings, complete)
    from accelerate import init_empty_weights

    with silence_imports():
        import transformers

        cls = getattr(transformers, kind)

    config: Any
    if kind == "T5EncoderModel":
        size = settings["vocab_size"]
        tokenizer = make_t5_tokenizer(size, settings["n_positions"])
        config = transformers.T5Config(**settings)
    else:
        size = settings.get("vocab_size", 49408)
        tokenizer = make_clip_tokenizer(size)
        config = transformers.CLIPTextConfig(
            **settings, bos_token_id=size - 2, eos_token_id=size - 1, pad_token_id=size - 1
        )
    with init_empty_weights(include_buffers=False):
        encoder = cls(config)
    complete(encoder)
    encoder.tie_weights()
    return tokenizer, encoder


def _build_bert(settings: Settings, complete: Complete) -> tuple[Any, Any]:
    from accelerate import init_empty_weights

    from dpnb.models.ldm_bert import LDMBertConfig, LDMBertModel

    config = LDMBertConfig(**settings)
    with init_empty_weights(include_buffers=False):
        encoder = LDMBertModel(config)
    complete(encoder)
    return make_bert_tokenizer(config.max_position_embeddings), encoder


def make_clip_tokenizer(size: int) -> Any:
    """CLIP's tokenizer without merges: every byte is a token, the last two mark start and end."""
    with silence_imports():
        from transformers import CLIPTokenizer
        from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    vocabulary |= {"<|startoftext|>": size - 2, "<|endoftext|>": size - 1}
    return CLIPTokenizer(
        vocab=vocabulary, merges=[], model_max_length=77, pad_token="<|endoftext|>"
    )


def make_t5_tokenizer(size: int, length: int) -> Any:
    """T5's tokenizer without words: every visible letter of ASCII is a token.

    Args:
        size: of the encoder's vocabulary, which has room for all of them.
        length: the most tokens of a text.
    """
    with silence_imports():
        from transformers import T5Tokenizer

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    marks = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary = [*marks, *((letter, -3.0) for letter in letters)]
    if len(vocabulary) > size:
        raise ValueError(
            f"a vocabulary of {size} has no room for {len(vocabulary)} letters and marks; use a "
            "larger one."
        )
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=length)


def make_bert_tokenizer(length: int) -> Any:
    """BERT's tokenizer whose tokens are single letters, begun and continued."""
    with silence_imports():
        from transformers import BertTokenizer

    letters = [chr(code) for code in range(33, 127)]
    tokens = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters)]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return BertTokenizer(vocab=vocabulary, model_max_length=length)
