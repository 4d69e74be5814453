"""Small pipelines of Kandinsky 6: films with sound from words and a picture, and larger films."""

from __future__ import annotations

from typing import Any

from tests.reference.checkpoints import diffusers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_modern import qwen2_vision_encoder, vision_processor
from tests.reference.foreign.parts_video import (
    Arguments,
    ask,
    ask_for_film,
    clip,
    euler,
    film,
    make_case,
    picture,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

TRANSFORMER: dict[str, Any] = {
    "in_visual_dim": 4,
    "out_visual_dim": 4,
    "in_text_dim": 32,
    "in_text_dim2": 24,
    "time_dim": 16,
    "model_dim": 32,
    "ff_dim": 48,
    "num_text_blocks": 1,
    "num_visual_blocks": 2,
    "axes_dims": (4, 6, 6),
    "in_audio_dim": 4,
    "out_audio_dim": 4,
    "visual_token_type_num_embeddings": 2,
}


def _vae() -> Any:
    return diffusers.AutoencoderKLHunyuanVideo(
        latent_channels=4,
        down_block_types=("HunyuanVideoDownBlock3D",) * 4,
        up_block_types=("HunyuanVideoUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=4,
    )


def _sound() -> dict[str, Any]:
    vae = diffusers.MMAudioVAE(
        mel_bins=8,
        latent_channels=4,
        hidden_channels=8,
        channel_multipliers=(1, 1, 2),
        layers_per_block=1,
        sample_rate=1600,
        n_fft=64,
        hop_length=16,
    )
    vocoder = diffusers.MMAudioVocoder(
        num_mels=8,
        upsample_initial_channel=16,
        upsample_rates=(4, 4),
        upsample_kernel_sizes=(8, 8),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
    )
    return {"audio_vae": vae, "vocoder": vocoder}


def _parts() -> dict[str, Any]:
    encoder, tokenizer = clip()
    return {
        "transformer": diffusers.Kandinsky6Transformer3DModel(**TRANSFORMER),
        "vae": _vae(),
        "text_encoder": qwen2_vision_encoder(),
        "tokenizer": vision_processor(),
        "text_encoder_2": encoder,
        "tokenizer_2": tokenizer,
        "scheduler": euler(),
        **_sound(),
    }


def _upscaler() -> dict[str, Any]:
    """It takes a picture of 32 x 32 pixels for one latent, and 8 x 8 latents together."""
    transformer = diffusers.Kandinsky6SRTransformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        time_dim=16,
        model_dim=32,
        ff_dim=48,
        num_visual_blocks=2,
        axes_dims=(4, 6, 6),
        tile_sizes=((32, 32),),
    )
    vae = diffusers.Kandinsky6SRVAE(
        latent_channels=4,
        encoder_block_out_channels=(8, 8, 16),
        decoder_block_out_channels=(8, 8, 16),
        layers_per_block=1,
    )
    return {"transformer": transformer, "vae": vae, "scheduler": euler()}


def _ask(**more: Any) -> Arguments:
    return lambda: ask_for_film(max_sequence_length=32, frame_rate=24.0, **more)


def _ask_for_more() -> dict[str, Any]:
    return ask(video=film(5, 24), resolution_scale=2)


CASES: tuple[ForeignCase, ...] = (
    make_case("Kandinsky6TI2VAPipeline", _parts, _ask()),
    make_case("Kandinsky6TI2VAPipeline (with a picture)", _parts, lambda: _ask(image=picture())()),
    make_case("Kandinsky6SRPipeline", _upscaler, _ask_for_more),
)
