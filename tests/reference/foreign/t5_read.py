"""Transformers whose texts are read by a T5: Chroma, PixArt, AuraFlow, CogView 3, Bria."""

from __future__ import annotations

from tests.reference.foreign.parts_modern import (
    SIZED,
    Parts,
    autoencoder,
    diffusers,
    flow_match,
    mask,
    picture,
    small_case,
    t5_encoder,
    t5_tokenizer,
)

TEXT: Parts = {**SIZED, "max_sequence_length": 32}
UNBINNED: Parts = {**TEXT, "use_resolution_binning": False, "clean_caption": False}


def _read(encoder: str = "T5EncoderModel") -> Parts:
    return {"text_encoder": t5_encoder(encoder), "tokenizer": t5_tokenizer()}


def _chroma() -> Parts:
    network = diffusers.ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=8,
        approximator_hidden_dim=32,
        approximator_layers=1,
    )
    return {"scheduler": flow_match(), "vae": autoencoder(4), "transformer": network, **_read()}


def _chroma_inpaint() -> Parts:
    """The call asks for a setting of FLUX, which Chroma's network has not by itself."""
    parts = _chroma()
    parts["transformer"].register_to_config(guidance_embeds=False)
    return parts


def _pixart() -> Parts:
    """Of the size at which the network is told sizes."""
    network = diffusers.PixArtTransformer2DModel(
        sample_size=128,
        num_layers=2,
        num_attention_heads=2,
        attention_head_dim=12,
        cross_attention_dim=24,
        caption_channels=32,
        norm_type="ada_norm_single",
        use_additional_conditions=True,
    )
    return {
        "vae": autoencoder(4, shift_factor=None),
        "transformer": network,
        "scheduler": diffusers.DPMSolverMultistepScheduler(),
        **_read(),
    }


def _aura_flow() -> Parts:
    network = diffusers.AuraFlowTransformer2DModel(
        sample_size=16,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pos_embed_max_size=256,
    )
    return {
        "vae": autoencoder(4, shift_factor=None),
        "transformer": network,
        "scheduler": flow_match(),
        **_read("UMT5EncoderModel"),
    }


def _cogview3() -> Parts:
    network = diffusers.CogView3PlusTransformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_head_dim=8,
        num_attention_heads=4,
        text_embed_dim=32,
        time_embed_dim=32,
        condition_dim=8,
        pos_embed_max_size=16,
        sample_size=16,
    )
    return {
        "vae": autoencoder(4, shift_factor=None),
        "transformer": network,
        "scheduler": diffusers.CogVideoXDDIMScheduler(
            prediction_type="v_prediction", rescale_betas_zero_snr=True
        ),
        **_read(),
    }


def _bria() -> Parts:
    network = diffusers.BriaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=[4, 6, 6],
    )
    return {
        "transformer": network,
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": autoencoder(4),
        **_read(),
    }


CASES = (
    small_case("ChromaPipeline", _chroma, **TEXT, negative_prompt="a grey day"),
    small_case("ChromaImg2ImgPipeline", _chroma, **TEXT, image=picture(), strength=0.6),
    small_case(
        "ChromaInpaintPipeline",
        _chroma_inpaint,
        **TEXT,
        image=picture(),
        mask_image=mask(),
        strength=0.6,
    ),
    small_case("PixArtAlphaPipeline (told the size)", _pixart, **UNBINNED),
    small_case("AuraFlowPipeline", _aura_flow, **TEXT),
    small_case("CogView3PlusPipeline", _cogview3, **TEXT),
    small_case("BriaPipeline", _bria, **TEXT),
)
