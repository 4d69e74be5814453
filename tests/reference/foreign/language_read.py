"""Transformers whose texts are read by Gemma, GLM, Llama or SmolLM."""

from __future__ import annotations

from tests.reference.foreign.flux2 import mistral_encoder
from tests.reference.foreign.parts_modern import (
    PROMPTED,
    SIZED,
    Parts,
    autoencoder,
    byte_tokenizer,
    decoder,
    diffusers,
    flow_match,
    flux2_autoencoder,
    picture,
    qwen_autoencoder,
    small_case,
)
from tests.reference.foreign.stable_diffusion_3 import three_readers

LARGE: Parts = {**PROMPTED, "height": 64, "width": 64}
INSTRUCTION = '{"edit_instruction": "a red fox"}'


def _lumina2() -> Parts:
    network = diffusers.Lumina2Transformer2DModel(
        in_channels=4,
        hidden_size=32,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=16,
        axes_dim_rope=(4, 6, 6),
        axes_lens=(256, 64, 64),
        cap_feat_dim=32,
    )
    return {
        "transformer": network,
        "scheduler": flow_match(shift=6.0),
        "vae": autoencoder(4, levels=4),
        "text_encoder": decoder("Gemma2Model", "Gemma2Config"),
        "tokenizer": byte_tokenizer(starts=True),
    }


def _lumina() -> Parts:
    network = diffusers.LuminaNextDiT2DModel(
        sample_size=16,
        hidden_size=32,
        num_layers=2,
        num_attention_heads=4,
        num_kv_heads=2,
        multiple_of=16,
        cross_attention_dim=32,
    )
    return {
        "transformer": network,
        "scheduler": flow_match(),
        "vae": autoencoder(4, levels=4, shift_factor=None),
        "text_encoder": decoder("GemmaModel", "GemmaConfig"),
        "tokenizer": byte_tokenizer(starts=True),
    }


def _cogview4(in_channels: int = 4) -> Parts:
    network = diffusers.CogView4Transformer2DModel(
        in_channels=in_channels,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        text_embed_dim=32,
        time_embed_dim=32,
        condition_dim=8,
        rope_axes_dim=(32, 32),
    )
    return {
        "tokenizer": byte_tokenizer(starts=True),
        "text_encoder": decoder("GlmModel", "GlmConfig"),
        "vae": autoencoder(4, shift_factor=None),
        "transformer": network,
        "scheduler": flow_match(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75),
    }


def _cogview4_control() -> Parts:
    return _cogview4(8)


def _hidream() -> Parts:
    """Large patches, for the call makes every size one of 128 x 128 latents."""
    network = diffusers.HiDreamImageTransformer2DModel(
        patch_size=8,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        caption_channels=[64, 32],
        text_emb_dim=40,
        num_routed_experts=2,
        num_activated_experts=1,
        axes_dims_rope=(8, 4, 4),
        max_resolution=(32, 32),
        llama_layers=[0, 1],
    )
    return {
        "scheduler": flow_match(shift=3.0),
        "vae": autoencoder(4),
        "text_encoder_4": decoder("LlamaForCausalLM", "LlamaConfig"),
        "tokenizer_4": byte_tokenizer(starts=True),
        "transformer": network,
        **three_readers(),
    }


def _fibo() -> Parts:
    network = diffusers.BriaFiboTransformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=64,
        axes_dims_rope=[4, 6, 6],
        text_encoder_dim=32,
    )
    return {
        "transformer": network,
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": qwen_autoencoder(
            "AutoencoderKLWan", patch_size=8, in_channels=192, out_channels=192
        ),
        "text_encoder": decoder("SmolLM3ForCausalLM", "SmolLM3Config"),
        "tokenizer": byte_tokenizer(starts=True),
    }


def _ernie() -> Parts:
    network = diffusers.ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=2,
        ffn_hidden_size=48,
        in_channels=16,
        out_channels=16,
        text_in_dim=32,
        rope_axes_dim=(4, 6, 6),
    )
    return {
        "transformer": network,
        "vae": flux2_autoencoder(),
        "text_encoder": mistral_encoder("Mistral3Model"),
        "tokenizer": byte_tokenizer(starts=True),
        "scheduler": flow_match(shift=3.0),
    }


CASES = (
    small_case("Lumina2Pipeline", _lumina2, **LARGE),
    small_case("LuminaPipeline", _lumina, **LARGE),
    small_case("CogView4Pipeline", _cogview4, **SIZED),
    small_case("CogView4ControlPipeline", _cogview4_control, **SIZED, control_image=picture()),
    small_case("HiDreamImagePipeline", _hidream, **SIZED, max_sequence_length=32),
    small_case("BriaFiboPipeline", _fibo, **LARGE, negative_prompt="a grey day"),
    small_case(
        "BriaFiboEditPipeline",
        _fibo,
        **{**LARGE, "prompt": INSTRUCTION},
        negative_prompt=INSTRUCTION,
        image=picture(),
    ),
    small_case("ErnieImagePipeline", _ernie, **SIZED),
)
