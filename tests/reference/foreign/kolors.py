"""Small pipelines of Kolors: a UNet of Stable Diffusion XL that hears ChatGLM."""

from __future__ import annotations

import atexit
import warnings
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from tests.reference.checkpoints import BETAS, diffusers, unet, vae
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import ask_for_words, make_case, picture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from diffusers.pipelines.kolors import ChatGLMModel, ChatGLMTokenizer
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

SENTENCES = (
    "a red fox sleeps in the snow",
    "two green birds sing over an old house",
    "the quick brown dog jumps on a lazy cat",
    "zebras vex a blurred picture of sixty wild fjords",
)
"""What the words of the tokenizer are learnt from."""

WORDS = 40

WIDTH = 24
"""Channels of ChatGLM."""


@cache
def _vocabulary() -> Path:
    """Learnt once in a process, and the same in every one."""
    from sentencepiece import SentencePieceTrainer

    folder = TemporaryDirectory(prefix="kolors-")
    atexit.register(folder.cleanup)
    SentencePieceTrainer.Train(
        sentence_iterator=iter(SENTENCES),
        model_prefix=str(Path(folder.name) / "tokenizer"),
        vocab_size=WORDS,
        num_threads=1,
        minloglevel=2,
    )
    return Path(folder.name) / "tokenizer.model"


def _encoder() -> Any:
    config = ChatGLMConfig(
        num_layers=2,
        padded_vocab_size=WORDS + 9,
        hidden_size=WIDTH,
        ffn_hidden_size=32,
        kv_channels=8,
        num_attention_heads=3,
        seq_length=64,
        add_qkv_bias=True,
        multi_query_attention=True,
        multi_query_group_num=1,
        original_rope=True,
    )
    encoder = ChatGLMModel(config)
    for name, weight in encoder.named_parameters():
        nn.init.normal_(weight, mean=float("norm" in name), std=0.1)
    return encoder


def _parts() -> dict[str, Any]:
    network = unet(
        "sdxl",
        encoder_hid_dim=WIDTH,
        encoder_hid_dim_type="text_proj",
        projection_class_embeddings_input_dim=8 * 6 + WIDTH,
    )
    return {
        "vae": vae(),
        "text_encoder": _encoder(),
        "tokenizer": ChatGLMTokenizer(str(_vocabulary())),
        "unet": network,
        "scheduler": diffusers.EulerDiscreteScheduler(**BETAS, timestep_spacing="leading"),
    }


_ask = partial(ask_for_words, max_sequence_length=32)

CASES: tuple[ForeignCase, ...] = (
    make_case("KolorsPipeline", _parts, _ask),
    make_case(
        "KolorsImg2ImgPipeline",
        _parts,
        lambda: _ask(image=picture(), num_inference_steps=3, strength=0.7),
    ),
    make_case("KolorsPAGPipeline", _parts, partial(_ask, pag_scale=3.0)),
)
