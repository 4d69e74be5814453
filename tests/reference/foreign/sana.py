"""Sana: linear attention over strongly compressed latents."""

from __future__ import annotations

from typing import Any

from tests.reference.foreign.ltx import CHANNELS, film_vae
from tests.reference.foreign.parts_modern import (
    SIZED,
    Parts,
    byte_tokenizer,
    decoder,
    diffusers,
    flow_match,
    picture,
    small_case,
)

SHAPE: Parts = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "num_layers": 2,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 8,
    "cross_attention_dim": 16,
    "caption_channels": 32,
    "sample_size": 16,
}
TEXT: Parts = {
    **SIZED,
    "max_sequence_length": 32,
    "complex_human_instruction": None,
    "use_resolution_binning": False,
}
SPRINT: Parts = {**TEXT, "intermediate_timesteps": None}


def deep_autoencoder() -> Any:
    """A deep compression autoencoder, though it halves the size only once."""
    shape = {
        f"{half}_{setting}": value
        for half in ("encoder", "decoder")
        for setting, value in (
            ("block_types", ("ResBlock", "EfficientViTBlock")),
            ("block_out_channels", (8, 16)),
            ("layers_per_block", (1, 1)),
            ("qkv_multiscales", ((), (5,))),
        )
    }
    return diffusers.AutoencoderDC(
        **shape, latent_channels=4, attention_head_dim=8, scaling_factor=0.5
    )


def _parts(**network: Any) -> Parts:
    return {
        "tokenizer": byte_tokenizer(starts=True),
        "text_encoder": decoder("Gemma2Model", "Gemma2Config"),
        "vae": deep_autoencoder(),
        "transformer": diffusers.SanaTransformer2DModel(**SHAPE, **network),
        "scheduler": diffusers.DPMSolverMultistepScheduler(
            algorithm_type="dpmsolver++",
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=3.0,
        ),
    }


def _controlnet() -> Parts:
    network = diffusers.SanaControlNetModel(**{**SHAPE, "num_layers": 1})
    return {**_parts(), "controlnet": network}


def _sprint() -> Parts:
    parts = _parts(guidance_embeds=True, qk_norm="rms_norm_across_heads")
    scheduler = diffusers.SCMScheduler(num_train_timesteps=1000, prediction_type="trigflow")
    return {**parts, "scheduler": scheduler}


def _world() -> Parts:
    """The embeddings of rays tell of the frames that are one latent."""
    network = diffusers.SanaWMTransformer3DModel(
        in_channels=CHANNELS,
        num_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        softmax_every_n=2,
        linear_head_dim=16,
        chunk_plucker_channels=6 * 4,
        chunk_plucker_post_attn_blocks=2,
        caption_channels=32,
    )
    scheduler = flow_match(shift=3.0)
    return {**_parts(), "vae": film_vae(), "transformer": network, "scheduler": scheduler}


WALK: Parts = {
    **SIZED,
    "image": picture(),
    "action": "w-8",
    "intrinsics": [30.0, 30.0, 16.0, 16.0],
    "num_frames": 5,
    "max_sequence_length": 32,
    "chi_prompt": ["see: "],
}

CASES = (
    small_case("SanaPipeline", _parts, **TEXT),
    small_case("SanaPAGPipeline", _parts, **TEXT, pag_scale=2.0),
    small_case("SanaControlNetPipeline", _controlnet, **TEXT, control_image=picture()),
    small_case("SanaSprintPipeline", _sprint, **SPRINT),
    small_case("SanaSprintImg2ImgPipeline", _sprint, **SPRINT, image=picture(), strength=0.6),
    small_case("SanaWMPipeline", _world, **WALK),
)
