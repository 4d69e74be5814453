"""Z-Image: a single stream of text and picture, read by a Qwen3."""

from __future__ import annotations

from typing import Any

from tests.reference.foreign.parts_modern import (
    SIZED,
    Parts,
    autoencoder,
    byte_tokenizer,
    diffusers,
    flow_match,
    mask,
    picture,
    qwen3_encoder,
    small_case,
)


def _parts(**network: Any) -> Parts:
    transformer = diffusers.ZImageTransformer2DModel(
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=32,
        axes_dims=[4, 6, 6],
        axes_lens=[256, 64, 64],
        **network,
    )
    return {
        "scheduler": flow_match(shift=3.0),
        "vae": autoencoder(),
        "text_encoder": qwen3_encoder(),
        "tokenizer": byte_tokenizer(),
        "transformer": transformer,
    }


def _controlled(channels: int = 16) -> Parts:
    controlnet = diffusers.ZImageControlNetModel(
        control_layers_places=[0, 1],
        control_refiner_layers_places=[0],
        control_in_dim=channels,
        add_control_noise_refiner="control_noise_refiner",
        dim=32,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
    )
    return {**_parts(), "controlnet": controlnet}


def _controlled_inpaint() -> Parts:
    """Latents of the control, the mask, and latents of the picture."""
    return _controlled(16 + 1 + 16)


def _omni() -> Parts:
    """Without eyes: it would encode a picture in bfloat16 whatever the autoencoder's type."""
    return {**_parts(siglip_feat_dim=16), "siglip": None, "siglip_processor": None}


CASES = (
    small_case("ZImagePipeline", _parts, **SIZED),
    small_case("ZImageImg2ImgPipeline", _parts, **SIZED, image=picture(), strength=0.6),
    small_case(
        "ZImageInpaintPipeline", _parts, **SIZED, image=picture(), mask_image=mask(), strength=0.6
    ),
    small_case("ZImageControlNetPipeline", _controlled, **SIZED, control_image=picture()),
    small_case(
        "ZImageControlNetInpaintPipeline",
        _controlled_inpaint,
        **SIZED,
        control_image=picture(),
        image=picture(seed=1),
        mask_image=mask(),
    ),
    small_case("ZImageOmniPipeline", _omni, **SIZED),
)
