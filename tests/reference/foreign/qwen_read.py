"""Transformers whose texts, and pictures, are read by a Qwen that is not Qwen-Image's."""

from __future__ import annotations

from typing import Any

import transformers

from tests.reference.foreign.parts_modern import (
    PROMPTED,
    SIZED,
    Parts,
    autoencoder,
    byte_tokenizer,
    diffusers,
    flow_match,
    flux2_autoencoder,
    picture,
    qwen2_vision_encoder,
    qwen3_encoder,
    qwen3_vision_encoder,
    qwen_autoencoder,
    small_case,
    t5_encoder,
    vision_processor,
)

GUIDED: Parts = {**SIZED, "negative_prompt": "a grey day"}
UNSIZED: Parts = {**PROMPTED, "negative_prompt": "a grey day"}


def _ovis() -> Parts:
    network = diffusers.OvisImageTransformer2DModel(
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
    )
    return {
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": autoencoder(4),
        "text_encoder": qwen3_encoder(),
        "tokenizer": byte_tokenizer(),
        "transformer": network,
    }


def _longcat() -> Parts:
    network = diffusers.LongCatImageTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=32,
        axes_dims_rope=[4, 6, 6],
    )
    return {
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": autoencoder(),
        "text_encoder": qwen2_vision_encoder(),
        "tokenizer": byte_tokenizer(),
        "text_processor": vision_processor(),
        "transformer": network,
    }


def _longcat_edit() -> Parts:
    """Halves the size six times: the call makes every picture one of a million pixels."""
    vae = autoencoder(levels=7, block_out_channels=(2, 2, 4, 8, 8, 16, 16), norm_num_groups=2)
    return {**_longcat(), "vae": vae}


def _hunyuan_network(**changes: Any) -> Any:
    settings: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "text_embed_dim": 32,
        "rope_axes_dim": (8, 8),
    }
    return diffusers.HunyuanImageTransformer2DModel(**{**settings, **changes})


def _hunyuan() -> Parts:
    vae = diffusers.AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        spatial_compression_ratio=2,
        sample_size=32,
        scaling_factor=0.5,
    )
    return {
        "scheduler": flow_match(shift=5.0),
        "vae": vae,
        "text_encoder": qwen2_vision_encoder(),
        "tokenizer": byte_tokenizer(),
        "text_encoder_2": t5_encoder(vocab_size=384),
        "tokenizer_2": transformers.ByT5Tokenizer(),
        "transformer": _hunyuan_network(text_embed_2_dim=32),
    }


def _hunyuan_refiner() -> Parts:
    vae = diffusers.AutoencoderKLHunyuanImageRefiner(
        latent_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        spatial_compression_ratio=2,
        temporal_compression_ratio=1,
    )
    return {
        "scheduler": flow_match(shift=4.0),
        "vae": vae,
        "text_encoder": qwen2_vision_encoder(),
        "tokenizer": byte_tokenizer(),
        "transformer": _hunyuan_network(
            in_channels=16,
            out_channels=8,
            patch_size=(1, 1, 1),
            rope_axes_dim=(4, 6, 6),
            guidance_embeds=True,
        ),
    }


def _krea2() -> Parts:
    network = diffusers.Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=48,
        timestep_embed_dim=32,
        text_hidden_dim=32,
        num_text_layers=2,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=48,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    return {
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": qwen_autoencoder(),
        "text_encoder": qwen3_vision_encoder("Qwen3VLModel"),
        "tokenizer": byte_tokenizer(),
        "transformer": network,
        "text_encoder_select_layers": (1, 2),
    }


def _nucleus() -> Parts:
    network = diffusers.NucleusMoEImageTransformer2DModel(
        in_channels=16,
        out_channels=4,
        num_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
        dense_moe_strategy="leave_first_block_dense",
        mlp_ratio=8.0,
        num_experts=4,
        moe_intermediate_dim=32,
        capacity_factors=[0.0, 2.0, 2.0],
    )
    return {
        "transformer": network,
        "scheduler": flow_match(),
        "vae": qwen_autoencoder(),
        "text_encoder": qwen3_vision_encoder(num_hidden_layers=3),
        "processor": vision_processor(3),
    }


def _fibo2() -> Parts:
    network = diffusers.BriaFibo2Transformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=5,
        n_refiner_layers=1,
        n_heads=2,
        cap_feat_dim=96,
        injection_layer_ids=(0, 1, 2, 3, 4),
        perceiver_num_layers=1,
        min_num_gist_tokens=4,
        max_num_gist_tokens=8,
        gist_step=2,
        gist_min_text_len=16,
        gist_max_text_len=256,
        axes_dims=(4, 6, 6),
        axes_lens=(2048, 64, 64),
    )
    return {
        "transformer": network,
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": flux2_autoencoder(),
        "text_encoder": qwen3_vision_encoder(num_hidden_layers=36),
        "processor": vision_processor(3),
    }


def _ideogram_network() -> Any:
    return diffusers.Ideogram4Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        intermediate_size=48,
        adaln_dim=16,
        llm_features_dim=13 * 32,
        mrope_section=(4, 2, 2),
    )


def _ideogram() -> Parts:
    return {
        "scheduler": flow_match(),
        "vae": flux2_autoencoder(),
        "text_encoder": qwen3_vision_encoder("Qwen3VLModel", num_hidden_layers=36),
        "tokenizer": byte_tokenizer(),
        "transformer": _ideogram_network(),
        "unconditional_transformer": _ideogram_network(),
    }


def _dreamlite() -> Parts:
    network = diffusers.DreamLiteUNetModel(
        sample_size=16,
        block_out_channels=(8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=32,
        attention_head_dim=8,
        ff_mult=2,
        addition_embed_type="time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16,
    )
    vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    return {
        "text_encoder": qwen3_vision_encoder(),
        "tokenizer": byte_tokenizer(),
        "processor": vision_processor(3),
        "vae": vae,
        "unet": network,
        "scheduler": flow_match(use_dynamic_shifting=True),
    }


SCHEDULED: Parts = {"max_sequence_length": 64, "guidance_schedule": (7.0, 7.0, 3.0)}
SAYS: Parts = {**SIZED, "prompt": 'a fox that says "hello"'}

CASES = (
    small_case("OvisImagePipeline", _ovis, **GUIDED, max_sequence_length=256),
    small_case("LongCatImagePipeline", _longcat, **GUIDED, enable_prompt_rewrite=False),
    small_case("LongCatImageEditPipeline", _longcat_edit, **UNSIZED, image=picture()),
    small_case("HunyuanImagePipeline", _hunyuan, **SAYS),
    small_case("HunyuanImageRefinerPipeline", _hunyuan_refiner, **SIZED, image=picture()),
    small_case("Krea2Pipeline", _krea2, **GUIDED, max_sequence_length=320),
    small_case("NucleusMoEImagePipeline", _nucleus, **GUIDED, return_index=-2),
    small_case("BriaFibo2Pipeline", _fibo2, **GUIDED),
    small_case("BriaFibo2Pipeline (with a picture)", _fibo2, **GUIDED, image=picture()),
    small_case("Ideogram4Pipeline", _ideogram, **SIZED, **SCHEDULED),
    small_case("DreamLitePipeline", _dreamlite, **GUIDED),
    small_case("DreamLitePipeline (with a picture)", _dreamlite, **GUIDED, image=picture()),
    small_case("DreamLiteMobilePipeline", _dreamlite, **SIZED),
)
