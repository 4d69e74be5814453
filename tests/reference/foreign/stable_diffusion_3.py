"""Stable Diffusion 3: three text encoders and a joint stream."""

from __future__ import annotations

from typing import Any

from tests.reference.foreign.parts_modern import (
    SIZED,
    Parts,
    autoencoder,
    clip_encoder,
    clip_tokenizer,
    diffusers,
    flow_match,
    mask,
    picture,
    small_case,
    t5_encoder,
    t5_tokenizer,
)

SHAPE: Parts = {
    "sample_size": 16,
    "patch_size": 2,
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": 64,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 40,
    "pos_embed_max_size": 16,
}
TEXT: Parts = {**SIZED, "max_sequence_length": 32}


def three_readers() -> Parts:
    """Two of CLIP that project, and a T5 of 64 channels."""
    return {
        "text_encoder": clip_encoder(projects=True),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": clip_encoder(projects=True, hidden_act="gelu"),
        "tokenizer_2": clip_tokenizer(),
        "text_encoder_3": t5_encoder(d_model=64),
        "tokenizer_3": t5_tokenizer(),
    }


def _parts(**changes: Any) -> Parts:
    network = diffusers.SD3Transformer2DModel(**{**SHAPE, **changes})
    return {
        "transformer": network,
        "scheduler": flow_match(shift=3.0),
        "vae": autoencoder(network.config.in_channels),
        **three_readers(),
    }


def _dual_attention() -> Parts:
    return _parts(dual_attention_layers=(0,), qk_norm="rms_norm")


def _sixteen_channels() -> Parts:
    return _parts(in_channels=16, out_channels=16)


def _controlnet(extra: int = 0) -> Parts:
    network = diffusers.SD3ControlNetModel(
        **{**SHAPE, "num_layers": 1}, extra_conditioning_channels=extra
    )
    return {**_parts(), "controlnet": network}


def _controlnet_inpaint() -> Parts:
    return _controlnet(1)


CASES = (
    small_case("StableDiffusion3Pipeline", _parts, **TEXT),
    small_case("StableDiffusion3Pipeline (3.5)", _dual_attention, **TEXT),
    small_case("StableDiffusion3Img2ImgPipeline", _parts, **TEXT, image=picture(), strength=0.6),
    small_case(
        "StableDiffusion3InpaintPipeline",
        _sixteen_channels,
        **TEXT,
        image=picture(),
        mask_image=mask(),
        strength=0.6,
    ),
    small_case("StableDiffusion3PAGPipeline", _parts, **TEXT, pag_scale=0.7),
    small_case(
        "StableDiffusion3PAGImg2ImgPipeline",
        _parts,
        **TEXT,
        image=picture(),
        strength=0.6,
        pag_scale=0.7,
    ),
    small_case("StableDiffusion3ControlNetPipeline", _controlnet, **TEXT, control_image=picture()),
    small_case(
        "StableDiffusion3ControlNetInpaintingPipeline",
        _controlnet_inpaint,
        **TEXT,
        control_image=picture(),
        control_mask=mask(),
    ),
)
