"""GLM-Image: a language model writes coarse tokens of a picture, a transformer paints over them."""

from __future__ import annotations

from typing import Any

import transformers

from tests.reference.foreign.parts_modern import (
    DECODER,
    PROMPTED,
    Parts,
    autoencoder,
    byte_tokenizer,
    diffusers,
    flow_match,
    small_case,
    t5_encoder,
)

CODES = 64
"""Of the coarse tokens."""

LARGE: Parts = {**PROMPTED, "height": 64, "width": 64}


def _processor() -> Any:
    """One token stands for 32 x 32 pixels."""
    tokenizer = byte_tokenizer(
        bos_token="<|vision_start|>",
        extra_special_tokens={
            "image_token": "<|image_pad|>",
            "grid_bos_token": "<|im_start|>",
            "grid_eos_token": "<|im_end|>",
        },
    )
    pictures = transformers.GlmImageImageProcessorPil(
        patch_size=32,
        merge_size=1,
        temporal_patch_size=1,
        size={"shortest_edge": 32**2, "longest_edge": 64**2},
    )
    return transformers.GlmImageProcessor(
        image_processor=pictures, tokenizer=tokenizer, chat_template=tokenizer.chat_template
    )


def _writer() -> Any:
    """A writer that never ends by itself, for a call wants a certain number of tokens."""
    text = {name: value for name, value in DECODER.items() if name != "head_dim"}
    config = transformers.GlmImageConfig(
        text_config={
            **text,
            "vision_vocab_size": CODES,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [2, 1, 1],
                "partial_rotary_factor": 1.0,
            },
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "image_size": 64,
            "patch_size": 32,
        },
        vq_config={"embed_dim": 16, "num_embeddings": CODES, "latent_channels": 32},
        image_token_id=261,
        image_start_token_id=259,
        image_end_token_id=260,
    )
    writer = transformers.GlmImageForConditionalGeneration(config)
    writer.generation_config.eos_token_id = None
    return writer


def _parts() -> Parts:
    network = diffusers.GlmImageTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        text_embed_dim=32,
        time_embed_dim=32,
        condition_dim=8,
        prior_vq_quantizer_codebook_size=CODES,
    )
    return {
        "tokenizer": transformers.ByT5Tokenizer(),
        "processor": _processor(),
        "text_encoder": t5_encoder(vocab_size=384),
        "vision_language_encoder": _writer(),
        "vae": autoencoder(4, levels=4, latents_mean=[0.1, 0, -0.1, 0], latents_std=[1.0] * 4),
        "transformer": network,
        "scheduler": flow_match(use_dynamic_shifting=True),
    }


CASES = (small_case("GlmImagePipeline", _parts, **LARGE),)
