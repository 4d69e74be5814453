"""Small pipelines of LTX-Video, and of LTX-2, which makes sound with its film."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.reference.checkpoints import diffusers, transformers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import (
    WIDTH,
    Arguments,
    ask_for_film,
    bytes_tokenizer,
    euler,
    film,
    make_case,
    noise,
    picture,
    t5,
)

CHANNELS = 8
"""Of the latents."""

LAYERS = 2
"""Of the text encoder of LTX-2, all of whose hidden states are read."""


def _vae(kind: str = "LTX", **changes: Any) -> Any:
    settings = {
        "latent_channels": CHANNELS,
        "block_out_channels": (8, 8, 8),
        "decoder_block_out_channels": (8, 8),
        "down_block_types": (f"{kind}VideoDownBlock3D",) * 3,
        "layers_per_block": (1,) * 4,
        "decoder_layers_per_block": (1,) * 3,
        "spatio_temporal_scaling": (True, True, False),
        "decoder_spatio_temporal_scaling": (True, True),
        "decoder_inject_noise": (False,) * 3,
        "downsample_type": ("conv",) * 3,
        "upsample_residual": (False, False),
        "upsample_factor": (1, 1),
        "patch_size": 4,
    }
    return getattr(diffusers, f"AutoencoderKL{kind}Video")(**{**settings, **changes})


def _flow() -> Any:
    return euler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )


def _parts(scheduler: Callable[[], Any] = _flow, **vae: Any) -> Arguments:
    def make() -> dict[str, Any]:
        transformer = diffusers.LTXVideoTransformer3DModel(
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            num_attention_heads=2,
            attention_head_dim=12,
            cross_attention_dim=24,
            num_layers=2,
            caption_channels=WIDTH,
        )
        parts = {"transformer": transformer, "vae": _vae(**vae), "scheduler": scheduler()}
        return {**t5(), **parts}

    return make


def _upsampler() -> dict[str, Any]:
    from diffusers.pipelines.ltx.modeling_latent_upsampler import LTXLatentUpsamplerModel

    upsampler = LTXLatentUpsamplerModel(CHANNELS, mid_channels=32, num_blocks_per_stage=1)
    return {"vae": _vae(), "latent_upsampler": upsampler}


def _gemma() -> Any:
    text = {
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": 300,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "max_position_embeddings": 512,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
    }
    config = transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=290
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def _connectors() -> Any:
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    return LTX2TextConnectors(
        caption_channels=WIDTH,
        text_proj_in_factor=LAYERS + 1,
        video_connector_num_attention_heads=4,
        video_connector_attention_head_dim=8,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=8,
        audio_connector_num_attention_heads=4,
        audio_connector_attention_head_dim=8,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=8,
        connector_rope_base_seq_len=32,
    )


def _sounding_transformer(**changes: Any) -> Any:
    return diffusers.LTX2VideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=2,
        attention_head_dim=16,
        cross_attention_dim=32,
        audio_in_channels=CHANNELS,
        audio_out_channels=CHANNELS,
        audio_num_attention_heads=2,
        audio_attention_head_dim=8,
        audio_cross_attention_dim=16,
        num_layers=2,
        caption_channels=WIDTH,
        vae_scale_factors=(4, 16, 16),
        **changes,
    )


def _audio_vae() -> Any:
    return diffusers.AutoencoderKLLTX2Audio(
        base_channels=8,
        ch_mult=(1, 1, 1),
        num_res_blocks=1,
        in_channels=2,
        resolution=32,
        latent_channels=2,
        mel_bins=16,
    )


def _vocoder() -> Any:
    from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder

    return LTX2Vocoder(
        in_channels=2 * 16,
        hidden_channels=8,
        upsample_kernel_sizes=[4, 4],
        upsample_factors=[2, 2],
        resnet_kernel_sizes=[3],
        resnet_dilations=[[1, 3, 5]],
        output_sampling_rate=640,
    )


def _sounding(**changes: Any) -> dict[str, Any]:
    return {
        "text_encoder": _gemma(),
        "tokenizer": bytes_tokenizer(),
        "connectors": _connectors(),
        "transformer": _sounding_transformer(),
        "vae": film_vae(),
        "audio_vae": _audio_vae(),
        "vocoder": _vocoder(),
        "scheduler": _flow(),
        **changes,
    }


def _with_keyframes() -> dict[str, Any]:
    transformer = _sounding_transformer(use_keyframes_abs_pos_embedding=True)
    return _sounding(transformer=transformer, scheduler=euler())


def film_vae() -> Any:
    """A random autoencoder of LTX 2: 16 pixels and 4 frames to one."""
    return _vae(
        "LTX2",
        downsample_type=("spatial", "temporal", "spatiotemporal"),
        spatio_temporal_scaling=(True, True, True),
        upsample_type=("spatiotemporal",) * 2,
        decoder_block_out_channels=(8, 16),
        block_out_channels=(8, 16, 16),
        upsample_residual=(True, True),
        upsample_factor=(2, 2),
        spatial_compression_ratio=16,
        temporal_compression_ratio=4,
    )


def _upsampler_2() -> dict[str, Any]:
    from diffusers.pipelines.ltx2.latent_upsampler import LTX2LatentUpsamplerModel

    upsampler = LTX2LatentUpsamplerModel(CHANNELS, mid_channels=32, num_blocks_per_stage=1)
    return {"vae": film_vae(), "latent_upsampler": upsampler}


def _ask(**more: Any) -> Arguments:
    return lambda: ask_for_film(max_sequence_length=24, **more)


def _ask_over_picture(**more: Any) -> Arguments:
    return lambda: _ask(image=picture(), **more)()


def _ask_for_long() -> dict[str, Any]:
    """Two pieces of time that overlap, decoded in four pieces of the picture."""
    tiles = {"temporal_tile_size": 8, "temporal_overlap": 4}
    parts = {"decode_horizontal_tiles": 2, "decode_vertical_tiles": 2, "decode_overlap": 1}
    return _ask(num_frames=13, cond_image=picture(), **tiles, **parts)()


def _ask_under_condition() -> dict[str, Any]:
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    return _ask(conditions=[LTX2VideoCondition(picture(), crf=0)], **SOUND)()


def _ask_in_context(**more: Any) -> dict[str, Any]:
    from diffusers.pipelines.ltx2.pipeline_ltx2_ic_lora import LTX2ReferenceCondition

    shown = [LTX2ReferenceCondition(film())]
    return _ask(reference_conditions=shown, frame_rate=25.0, **more)()


def _ask_in_range() -> dict[str, Any]:
    return {**_ask_in_context(), "output_type": "pt"}


def _ask_over_keyframes() -> dict[str, Any]:
    arguments = _ask(frame_rate=25.0, sigmas=[1.0, 0.7])()
    del arguments["num_inference_steps"]
    return arguments


def _ask_to_upsample() -> dict[str, Any]:
    arguments = ask_for_film(latents=noise(1, CHANNELS, 2, 2, 2))
    return {
        key: arguments[key] for key in ("height", "width", "latents", "generator", "output_type")
    }


NOT_BUILT: dict[str, str] = {
    "LTX2VideoDiffusionDecodePipeline": "decodes its smallest film for five seconds",
    "LTX2DFRTemporalRefinePipeline": "refines the keyframes of another pipeline's call",
}
"""Why a class of this family has no case."""

SOUND: dict[str, Any] = {"spatio_temporal_guidance_blocks": [1], "frame_rate": 25.0}

CASES: tuple[ForeignCase, ...] = (
    make_case("LTXPipeline", _parts(), _ask()),
    make_case(
        "LTXPipeline (decoder with a timestep)",
        _parts(timestep_conditioning=True),
        _ask(decode_timestep=0.05, decode_noise_scale=0.025),
    ),
    make_case("LTXImageToVideoPipeline", _parts(), _ask_over_picture()),
    make_case("LTXConditionPipeline", _parts(euler), _ask_over_picture()),
    make_case(
        "LTXI2VLongMultiPromptPipeline",
        _parts(diffusers.LTXEulerAncestralRFScheduler),
        _ask_for_long,
    ),
    make_case("LTXLatentUpsamplePipeline", _upsampler, _ask_to_upsample),
    make_case("LTX2Pipeline", _sounding, _ask(**SOUND)),
    make_case("LTX2ImageToVideoPipeline", _sounding, _ask_over_picture(image_crf=0, **SOUND)),
    make_case("LTX2ConditionPipeline", _sounding, _ask_under_condition),
    make_case("LTX2LatentUpsamplePipeline", _upsampler_2, _ask_to_upsample),
    make_case(
        "LTX2InContextPipeline",
        _sounding,
        lambda: _ask_in_context(spatio_temporal_guidance_blocks=[1]),
    ),
    make_case("LTX2HDRPipeline", _sounding, _ask_in_range),
    make_case("LTX2DFRPipeline", _with_keyframes, _ask_over_keyframes),
)
