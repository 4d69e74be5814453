"""What fits no other family: Qwen-Image 2.1, JoyImage, PRX."""

from __future__ import annotations

from typing import Any

import transformers
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

from tests.reference.foreign.parts_modern import (
    DECODER,
    PROMPTED,
    SIZED,
    Parts,
    autoencoder,
    byte_tokenizer,
    decoder,
    diffusers,
    flow_match,
    picture,
    qwen3_vision_encoder,
    qwen_autoencoder,
    small_case,
    vision_processor,
)

GUIDED: Parts = {**PROMPTED, "negative_prompt": "a grey day"}


def _qwen_21() -> Parts:
    """What sees takes four latents of a picture for one token."""
    vae = diffusers.AutoencoderKLQwenImage21(
        base_dim=8,
        decoder_base_dim=8,
        z_dim=8,
        dim_mult=[1] * 5,
        num_res_blocks=1,
        latents_mean=[0.1, -0.1] * 4,
        latents_std=[1.1, 0.9] * 4,
    )
    network = diffusers.QwenImage21Transformer2DModel(
        in_channels=8,
        out_channels=8,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        context_in_dim=32,
        axes_dims_rope=(4, 6, 6),
    )
    return {
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": vae,
        "text_encoder": qwen3_vision_encoder(patch_size=16),
        "processor": vision_processor(3, patch_size=16),
        "transformer": network,
    }


def _joy(network: str = "JoyImageEditTransformer3DModel") -> Parts:
    """With patches of 16 x 16, for the call makes every picture one of a million pixels."""
    vae = qwen_autoencoder(
        "AutoencoderKLWan",
        patch_size=16,
        in_channels=768,
        out_channels=768,
        scale_factor_spatial=32,
    )
    transformer = getattr(diffusers, network)(
        in_channels=4,
        hidden_size=32,
        num_attention_heads=2,
        text_dim=32,
        num_layers=1,
        rope_dim_list=[4, 6, 6],
    )
    return {
        "scheduler": flow_match(shift=4.0),
        "vae": vae,
        "text_encoder": qwen3_vision_encoder(),
        "tokenizer": byte_tokenizer(),
        "transformer": transformer,
        "processor": vision_processor(3),
    }


def _joy_plus() -> Parts:
    return _joy("JoyImageEditPlusTransformer3DModel")


def _prx(**changes: Any) -> Parts:
    settings: dict[str, Any] = {
        "in_channels": 4,
        "context_in_dim": 32,
        "hidden_size": 32,
        "num_heads": 2,
        "depth": 2,
        "axes_dim": [8, 8],
    }
    config: Any = transformers.T5GemmaConfig(
        encoder=dict(DECODER), decoder=dict(DECODER), vocab_size=DECODER["vocab_size"]
    )
    return {
        "transformer": diffusers.PRXTransformer2DModel(**{**settings, **changes}),
        "scheduler": flow_match(shift=3.0),
        "text_encoder": T5GemmaEncoder(config.encoder),
        "tokenizer": byte_tokenizer(starts=True, model_max_length=32),
    }


def _prx_latent() -> Parts:
    return {**_prx(), "vae": autoencoder(4)}


def _prx_pixel() -> Parts:
    encoder = decoder("Qwen3Model", "Qwen3Config")
    return {**_prx(in_channels=3, patch_size=4, bottleneck_size=16), "text_encoder": encoder}


CASES = (
    small_case("QwenImage21Pipeline", _qwen_21, **GUIDED, true_cfg_scale=3.0, output_resolution=64),
    small_case(
        "QwenImage21Pipeline (with a picture)",
        _qwen_21,
        **GUIDED,
        image=picture(64, 64),
        output_resolution=64,
    ),
    small_case("JoyImageEditPipeline", _joy, **GUIDED, image=picture()),
    small_case("JoyImageEditPlusPipeline", _joy_plus, **GUIDED, images=[picture()]),
    small_case("PRXPipeline", _prx_latent, **SIZED, use_resolution_binning=False),
    small_case("PRXPixelPipeline", _prx_pixel, **SIZED, use_resolution_binning=False),
)

NOT_BUILT: dict[str, str] = {
    "OmniGenPipeline": "prepares its pictures with torchvision, which is not installed",
    "ZImageOmniPipeline (with a picture)": "encodes it in bfloat16 whatever the autoencoder is in",
    "GlmImagePipeline (with a picture)": (
        "gives transformers 5 the features of pictures joined, which takes them one by one"
    ),
}
"""Of all recent families of picture transformers."""
