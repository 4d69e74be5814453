"""Small pipelines of video that have a family each."""

from __future__ import annotations

from typing import Any

import torch

from tests.reference.checkpoints import diffusers, transformers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import (
    DECODER,
    WIDTH,
    Arguments,
    ask,
    ask_for_film,
    bytes_tokenizer,
    clip,
    euler,
    make_case,
    picture,
    picture_vae,
    qwen_seeing,
    siglip,
    t5,
    tensor_film,
    wan_vae,
)

BETAS = {"beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False}


def _mochi() -> dict[str, Any]:
    transformer = diffusers.MochiTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=2,
        pooled_projection_dim=16,
        in_channels=12,
        text_embed_dim=WIDTH,
        time_embed_dim=4,
        activation_fn="swiglu",
        max_sequence_length=24,
    )
    vae = diffusers.AutoencoderKLMochi(
        encoder_block_out_channels=(32, 32, 32, 32),
        decoder_block_out_channels=(32, 32, 32, 32),
        layers_per_block=(1, 1, 1, 1, 1),
    )
    return {**t5(), "transformer": transformer, "vae": vae, "scheduler": euler()}


def _allegro() -> dict[str, Any]:
    transformer = diffusers.AllegroTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        cross_attention_dim=24,
        sample_width=4,
        sample_height=4,
        sample_frames=3,
        caption_channels=WIDTH,
    )
    vae = diffusers.AutoencoderKLAllegro(
        down_block_types=("AllegroDownBlock3D",) * 4,
        up_block_types=("AllegroUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        sample_size=32,
    )
    scheduler = diffusers.EulerAncestralDiscreteScheduler()
    return {**t5(), "transformer": transformer, "vae": vae, "scheduler": scheduler}


def _tile_allegro(pipe: Any) -> None:
    """Its autoencoder knows nothing but tiles, of 24 frames unless told otherwise."""
    pipe.vae.enable_tiling()
    pipe.vae.kernel, pipe.vae.stride = (8, 32, 32), (4, 16, 16)
    pipe.vae.tile_overlap_t, pipe.vae.tile_overlap_h, pipe.vae.tile_overlap_w = 4, 16, 16


def _latte() -> dict[str, Any]:
    transformer = diffusers.LatteTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        cross_attention_dim=24,
        attention_bias=True,
        sample_size=16,
        patch_size=2,
        activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        caption_channels=WIDTH,
        video_length=2,
    )
    scheduler = diffusers.DDIMScheduler(**BETAS)
    return {**t5(), "transformer": transformer, "vae": picture_vae(), "scheduler": scheduler}


def _easy(**changes: Any) -> Arguments:
    def make() -> dict[str, Any]:
        settings = {
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "in_channels": 4,
            "out_channels": 4,
            "patch_size": 2,
            "num_layers": 2,
            "mmdit_layers": 1,
            "time_embed_dim": 8,
            "text_embed_dim": WIDTH,
            "sample_width": 4,
            "sample_height": 4,
        }
        transformer = diffusers.EasyAnimateTransformer3DModel(**{**settings, **changes})
        return {
            **qwen_seeing("Qwen2VL"),
            "transformer": transformer,
            "vae": _magvit(),
            "scheduler": euler(),
        }

    return make


def _magvit() -> Any:
    down = ("SpatialDownBlock3D", *("SpatialTemporalDownBlock3D",) * 3)
    up = ("SpatialUpBlock3D", *("SpatialTemporalUpBlock3D",) * 3)
    return diffusers.AutoencoderKLMagvit(
        latent_channels=4,
        block_out_channels=[8, 8, 8, 8],
        down_block_types=down,
        up_block_types=up,
        layers_per_block=1,
        norm_num_groups=2,
        spatial_group_norm=False,
    )


def _sana(scheduler: Any) -> dict[str, Any]:
    transformer = diffusers.SanaVideoTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=2,
        num_cross_attention_heads=2,
        cross_attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=WIDTH,
        sample_size=4,
        rope_max_seq_len=32,
    )
    encoder = transformers.Gemma2Model(transformers.Gemma2Config(**DECODER, head_dim=8))
    return {
        "tokenizer": bytes_tokenizer(),
        "text_encoder": encoder,
        "transformer": transformer,
        "vae": wan_vae(),
        "scheduler": scheduler,
    }


def _sana_flow() -> Any:
    return diffusers.DPMSolverMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=8.0
    )


def _kandinsky(*, films: bool = True, visual_cond: bool = True) -> Arguments:
    def make() -> dict[str, Any]:
        transformer = diffusers.Kandinsky5Transformer3DModel(
            in_visual_dim=4,
            in_text_dim=WIDTH,
            in_text_dim2=24,
            time_dim=16,
            out_visual_dim=4,
            model_dim=16,
            ff_dim=32,
            num_text_blocks=1,
            num_visual_blocks=2,
            axes_dims=(2, 2, 4),
            visual_cond=visual_cond,
        )
        encoder, tokenizer = clip()
        return {
            **qwen_seeing(),
            "text_encoder_2": encoder,
            "tokenizer_2": tokenizer,
            "transformer": transformer,
            "vae": _film_vae() if films else picture_vae(),
            "scheduler": euler(shift=5.0),
        }

    return make


def _allow_small(pipe: Any) -> None:
    pipe.resolutions = [(32, 32)]


def _motif(**changes: Any) -> dict[str, Any]:
    transformer = diffusers.MotifVideoTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_single_layers=2,
        num_decoder_layers=1,
        text_embed_dim=WIDTH,
        rope_axes_dim=(4, 4, 8),
        **changes,
    )
    return {
        "text_encoder": _t5_gemma(),
        "tokenizer": bytes_tokenizer(),
        "transformer": transformer,
        "vae": wan_vae(),
        "scheduler": euler(),
        "guider": diffusers.ClassifierFreeGuidance(guidance_scale=3.0),
    }


def _t5_gemma() -> Any:
    vision = {
        "hidden_size": WIDTH,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    config = transformers.T5Gemma2EncoderConfig(
        text_config={**DECODER, "head_dim": 8, "dropout_rate": 0.0},
        vision_config=vision,
        mm_tokens_per_image=4,
        image_token_index=290,
    )
    from transformers.models.t5gemma2.modeling_t5gemma2 import T5Gemma2Encoder

    return T5Gemma2Encoder(config)


def _film_vae() -> Any:
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )


def _ask(**more: Any) -> Arguments:
    return lambda: ask_for_film(**more)


def _ask_for_frames(name: str, count: int, **more: Any) -> Arguments:
    size = {"height": 32, "width": 32, name: count}
    return lambda: ask(prompt="a red fox", **size, **more)


def _ask_to_fill() -> dict[str, Any]:
    """All of the film is hidden: a mask that shows some of it ends in an error of the class's."""
    hidden = torch.full((1, 1, 5, 32, 32), 255.0)
    return ask_for_film(negative_prompt="dull", video=tensor_film(), mask_video=hidden)


SANA: dict[str, Any] = {
    "max_sequence_length": 24,
    "use_resolution_binning": False,
    "complex_human_instruction": [],
}
MUTE: dict[str, Any] = {"clean_caption": False}

NOT_BUILT: dict[str, str] = {
    "EasyAnimateControlPipeline": "hands its own encode_prompt an argument that it does not take",
}
"""Why a class of this family has no case."""

CASES: tuple[ForeignCase, ...] = (
    make_case("MochiPipeline", _mochi, _ask(num_frames=7, max_sequence_length=24)),
    make_case(
        "AllegroPipeline",
        _allegro,
        _ask(num_frames=8, max_sequence_length=24, **MUTE),
        _tile_allegro,
    ),
    make_case("LattePipeline", _latte, _ask_for_frames("video_length", 2, **MUTE)),
    make_case("EasyAnimatePipeline", _easy(), _ask(negative_prompt="dull")),
    make_case("EasyAnimateInpaintPipeline", _easy(in_channels=9), _ask_to_fill),
    make_case(
        "SanaVideoPipeline", lambda: _sana(_sana_flow()), _ask_for_frames("frames", 5, **SANA)
    ),
    make_case(
        "SanaImageToVideoPipeline",
        lambda: _sana(euler(shift=8.0)),
        lambda: _ask_for_frames("frames", 5, image=picture(), **SANA)(),
    ),
    make_case("Kandinsky5T2VPipeline", _kandinsky(), _ask(max_sequence_length=1024)),
    make_case(
        "Kandinsky5I2VPipeline",
        _kandinsky(),
        lambda: _ask(image=picture(), num_frames=25, max_sequence_length=1024)(),
    ),
    make_case(
        "Kandinsky5T2IPipeline",
        _kandinsky(films=False, visual_cond=False),
        _ask_for_frames("max_sequence_length", 1024),
        _allow_small,
    ),
    make_case(
        "Kandinsky5I2IPipeline",
        _kandinsky(films=False),
        lambda: _ask_for_frames("max_sequence_length", 1024, image=picture())(),
        _allow_small,
    ),
    make_case("MotifVideoPipeline", _motif, _ask(max_sequence_length=24)),
    make_case(
        "MotifVideoImage2VideoPipeline",
        lambda: {
            **_motif(image_embed_dim=WIDTH),
            "feature_extractor": siglip()["feature_extractor"],
        },
        lambda: _ask(image=picture(), max_sequence_length=24)(),
    ),
)
