"""FLUX.1: from text, from pictures, with control."""

from __future__ import annotations

from typing import Any

import transformers

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
    "num_layers": 1,
    "num_single_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 24,
    "axes_dims_rope": (4, 6, 6),
}
TEXT: Parts = {**SIZED, "max_sequence_length": 32}


def _readers() -> Parts:
    return {
        "text_encoder": clip_encoder(),
        "tokenizer": clip_tokenizer(),
        "text_encoder_2": t5_encoder(),
        "tokenizer_2": t5_tokenizer(),
    }


def _parts(**network: Any) -> Parts:
    settings = {"in_channels": 16, "out_channels": 16, "guidance_embeds": True}
    return {
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": autoencoder(4),
        "transformer": diffusers.FluxTransformer2DModel(**{**SHAPE, **settings, **network}),
        **_readers(),
    }


def _true_guidance() -> Parts:
    return _parts(guidance_embeds=False)


def _control() -> Parts:
    return _parts(in_channels=32)


def _fill() -> Parts:
    return _parts(in_channels=48)


def _cloze() -> Parts:
    return {**_fill(), "resolution": 32}


def _controlnet() -> Parts:
    network = diffusers.FluxControlNetModel(**SHAPE, in_channels=16, guidance_embeds=True)
    return {**_parts(), "controlnet": network}


def _redux() -> Parts:
    config = transformers.SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
    )
    return {
        "image_encoder": transformers.SiglipVisionModel(config),
        "feature_extractor": transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
        "image_embedder": diffusers.pipelines.flux.modeling_flux.ReduxImageEncoder(
            redux_dim=32, txt_in_features=32
        ),
        **_readers(),
    }


EXAMPLES = [[picture(), picture(seed=1)], [picture(seed=2), None]]
"""A row that shows what to do, and one that asks for it."""

CLOZE: Parts = {
    "task_prompt": "each row makes [IMAGE2] of [IMAGE1]",
    "content_prompt": "a red fox",
    "image": EXAMPLES,
    "num_inference_steps": 3,
    "output_type": "np",
    "max_sequence_length": 64,
}


CASES = (
    small_case("FluxPipeline", _parts, **TEXT),
    small_case(
        "FluxPipeline (true guidance)",
        _true_guidance,
        **TEXT,
        negative_prompt="a grey day",
        true_cfg_scale=3.0,
    ),
    small_case("FluxImg2ImgPipeline", _parts, **TEXT, image=picture(), strength=0.6),
    small_case(
        "FluxInpaintPipeline", _parts, **TEXT, image=picture(), mask_image=mask(), strength=0.6
    ),
    small_case("FluxFillPipeline", _fill, **TEXT, image=picture(), mask_image=mask()),
    small_case("FluxControlPipeline", _control, **TEXT, control_image=picture()),
    small_case(
        "FluxControlImg2ImgPipeline",
        _control,
        **TEXT,
        image=picture(),
        control_image=picture(seed=1),
        strength=0.6,
    ),
    small_case(
        "FluxControlInpaintPipeline",
        _control,
        **TEXT,
        image=picture(),
        control_image=picture(seed=1),
        mask_image=mask(),
        strength=0.6,
    ),
    small_case("FluxControlNetPipeline", _controlnet, **TEXT, control_image=picture()),
    small_case(
        "FluxControlNetImg2ImgPipeline",
        _controlnet,
        **TEXT,
        image=picture(),
        control_image=picture(seed=1),
        strength=0.6,
    ),
    small_case(
        "FluxControlNetInpaintPipeline",
        _controlnet,
        **TEXT,
        image=picture(),
        control_image=picture(seed=1),
        mask_image=mask(),
        strength=0.6,
    ),
    small_case(
        "FluxKontextPipeline", _parts, **TEXT, image=picture(), max_area=1024, _auto_resize=False
    ),
    small_case(
        "FluxKontextInpaintPipeline",
        _parts,
        **TEXT,
        image=picture(),
        mask_image=mask(),
        max_area=1024,
        _auto_resize=False,
        strength=0.6,
    ),
    small_case("FluxPriorReduxPipeline", _redux, seeded=False, prompt="a red fox", image=picture()),
    small_case("VisualClozeGenerationPipeline", _cloze, **CLOZE),
    small_case(
        "VisualClozePipeline",
        _cloze,
        **CLOZE,
        upsampling_height=32,
        upsampling_width=32,
        upsampling_strength=0.6,
    ),
)
