"""A small byte-pair vocabulary in CLIP's format, learnt from the names of emoji."""

import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from dpnb.atomic import write_text
from dpnb.silence import silence_imports

with silence_imports():
    from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
LENGTH = 77
VOCABULARY = 2048


def learn_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """At most `count` byte-pair merges for `texts`, the most frequent first."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=count + 2 * 256,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        end_of_word_suffix=WORD_END,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]["merges"]
    return [(first, second) for first, second in learnt][:count]


def build_vocabulary(merges: list[tuple[str, str]]) -> dict[str, int]:
    """Token → number in CLIP's order: bytes, bytes that end a word, merges, start, end."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    endings = [letter + WORD_END for letter in letters]
    tokens = [*letters, *endings, *(first + second for first, second in merges), START, END]
    return {token: number for number, token in enumerate(dict.fromkeys(tokens))}


def build_tokenizer(texts: Iterable[str]) -> CLIPTokenizer:
    """A tokenizer of at most 2,048 tokens for `texts`; always 77 numbers to a prompt."""
    merges = learn_merges(texts, VOCABULARY - 2 * 256 - 2)
    return CLIPTokenizer(
        vocab=build_vocabulary(merges),
        merges=merges,  # type: ignore[arg-type]  # transformers takes pairs, whatever it declares
        bos_token=START,
        eos_token=END,
        pad_token=END,
        unk_token=END,
        model_max_length=LENGTH,
    )


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Write `tokenizer` both as one file and as vocabulary and merges, without local settings."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "tokenizer.json", tokenizer.backend_tokenizer.to_str(pretty=True))
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [" ".join(pair) for pair in model["merges"]]
    write_text(folder / "vocab.json", json.dumps(model["vocab"], ensure_ascii=False))
    write_text(folder / "merges.txt", "\n".join(["#version: 0.2", *merges, ""]))
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "model_max_length": LENGTH,
        "do_lower_case": True,
    }
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
