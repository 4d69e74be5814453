"""Small pipelines of UniDiffuser, which draws from words, tells of pictures, or does both."""

from __future__ import annotations

from typing import Any

from transformers.convert_slow_tokenizer import bytes_to_unicode

from tests.reference.checkpoints import BETAS, diffusers, transformers, vae
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    ask,
    ask_for_words,
    clip_processor,
    clip_text,
    clip_vision,
    make_case,
    picture,
    tokenizer,
)

NOT_BUILT = {
    "BlipDiffusionPipeline": "calls `invert_attention_mask`, which transformers 5 has no more",
    "BlipDiffusionControlNetPipeline": "calls `invert_attention_mask`, as the one above",
}
"""Why a class of this family has no case."""

WIDTH = 24


def _speller() -> Any:
    letters = [*bytes_to_unicode().values(), "<|endoftext|>"]
    return transformers.GPT2Tokenizer(
        vocab={letter: index for index, letter in enumerate(letters)}, merges=[]
    )


def _unidiffuser() -> dict[str, Any]:
    from diffusers.pipelines.deprecated.unidiffuser import (
        UniDiffuserModel,
        UniDiffuserTextDecoder,
    )

    network = UniDiffuserModel(
        text_dim=WIDTH,
        clip_img_dim=WIDTH,
        num_text_tokens=77,
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        norm_num_groups=8,
        sample_size=16,
        patch_size=2,
        activation_fn="gelu",
        num_embeds_ada_norm=1000,
        use_patch_pos_embed=True,
        use_data_type_embedding=True,
    )
    decoder = UniDiffuserTextDecoder(
        prefix_length=77,
        prefix_inner_dim=WIDTH,
        prefix_hidden_dim=WIDTH,
        vocab_size=257,
        n_positions=160,
        n_embd=WIDTH,
        n_layer=2,
        n_head=2,
        initializer_range=1.0,
    )
    for layer in (decoder.encode_prefix, decoder.decode_prefix):
        layer.weight.data *= 8  # lest every picture be told of in the same words
    return {
        "vae": vae(),
        "text_encoder": clip_text(),
        "image_encoder": clip_vision(WIDTH),
        "clip_image_processor": clip_processor(),
        "clip_tokenizer": tokenizer(),
        "text_decoder": decoder,
        "text_tokenizer": _speller(),
        "unet": network,
        "scheduler": diffusers.DPMSolverMultistepScheduler(**BETAS, solver_order=3),
    }


CASES: tuple[ForeignCase, ...] = (
    make_case("UniDiffuserPipeline", _unidiffuser, ask_for_words, "words to picture"),
    make_case(
        "UniDiffuserPipeline",
        _unidiffuser,
        lambda: ask(image=picture()),
        "picture to words",
    ),
    make_case("UniDiffuserPipeline", _unidiffuser, ask, "both"),
)
