"""FLUX.2 and its small sister Klein, read by language models."""

from __future__ import annotations

from typing import Any

import transformers

from tests.reference.foreign.parts_modern import (
    DECODER,
    SIZED,
    Parts,
    byte_tokenizer,
    diffusers,
    flow_match,
    flux2_autoencoder,
    mask,
    picture,
    qwen3_encoder,
    small_case,
)

LAYERS = (0, 1, 2)
"""Whose outputs are the embeddings: together 96 channels."""

TEXT: Parts = {**SIZED, "text_encoder_out_layers": LAYERS, "max_sequence_length": 320}
SHORT: Parts = {**TEXT, "max_sequence_length": 64}


def _parts(text_encoder: Any, **network: Any) -> Parts:
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=96,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        **network,
    )
    return {
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": flux2_autoencoder(),
        "text_encoder": text_encoder,
        "tokenizer": byte_tokenizer(),
        "transformer": transformer,
    }


def mistral_encoder(kind: str = "Mistral3ForConditionalGeneration") -> Any:
    """A Mistral of 32 channels that has eyes, which a text alone leaves closed."""
    vision = {
        "model_type": "pixtral",
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
        "image_size": 32,
        "patch_size": 8,
    }
    config = transformers.Mistral3Config(
        text_config={"model_type": "mistral", **DECODER},
        vision_config=vision,
        image_token_index=261,
    )
    return getattr(transformers, kind)(config)


def _mistral() -> Parts:
    return _parts(mistral_encoder())


def _klein() -> Parts:
    return _parts(qwen3_encoder("Qwen3ForCausalLM"), guidance_embeds=False)


def _distilled() -> Parts:
    return {**_klein(), "is_distilled": True}


CASES = (
    small_case("Flux2Pipeline", _mistral, **TEXT),
    small_case("Flux2Pipeline (with a picture)", _mistral, **TEXT, image=picture(64, 64)),
    small_case("Flux2KleinPipeline", _klein, **SHORT),
    small_case("Flux2KleinPipeline (distilled)", _distilled, **SHORT, image=picture(64, 64)),
    small_case(
        "Flux2KleinInpaintPipeline",
        _klein,
        **SHORT,
        image=picture(),
        mask_image=mask(),
        strength=0.6,
    ),
    small_case("Flux2KleinKVPipeline", _distilled, **SHORT, image=picture(64, 64)),
)
