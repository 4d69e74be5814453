"""Qwen-Image: from text, from pictures, and after instructions."""

from __future__ import annotations

from typing import Any

from tests.reference.foreign.parts_modern import (
    SIZED,
    Parts,
    byte_tokenizer,
    diffusers,
    flow_match,
    mask,
    picture,
    qwen2_vision_encoder,
    qwen_autoencoder,
    small_case,
    vision_processor,
)

SHAPE: Parts = {
    "in_channels": 16,
    "out_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (4, 6, 6),
}
GUIDED: Parts = {**SIZED, "negative_prompt": "a grey day", "true_cfg_scale": 3.0}
EDITED: Parts = {**GUIDED, "height": 128, "width": 128}
LAYERED: Parts = {name: value for name, value in GUIDED.items() if name not in ("height", "width")}


def _parts(**network: Any) -> Parts:
    return {
        "scheduler": flow_match(use_dynamic_shifting=True),
        "vae": qwen_autoencoder(),
        "text_encoder": qwen2_vision_encoder(),
        "tokenizer": byte_tokenizer(),
        "transformer": diffusers.QwenImageTransformer2DModel(**SHAPE, **network),
    }


def _controlnet(extra: int = 0) -> Parts:
    network = diffusers.QwenImageControlNetModel(**SHAPE, extra_condition_channels=extra)
    return {**_parts(), "controlnet": network}


def _controlnet_inpaint() -> Parts:
    return _controlnet(4)


def _patched_autoencoder(channels: int = 3, **changes: Any) -> Any:
    """Of patches of 16 x 16, that the million pixels on which editors insist be few latents.

    Qwen-Image's own is Wan's without patches.
    """
    return qwen_autoencoder(
        "AutoencoderKLWan",
        patch_size=16,
        in_channels=channels * 16**2,
        out_channels=channels * 16**2,
        temperal_downsample=[False] * 5,
        **changes,
    )


def _editor() -> Parts:
    return {**_parts(), "vae": _patched_autoencoder(), "processor": vision_processor()}


def _layered() -> Parts:
    """With more channels of latents than of pictures: by their number the call tells them apart."""
    latents = {"z_dim": 8, "latents_mean": [0.1, -0.1] * 4, "latents_std": [1.1, 0.9] * 4}
    network = diffusers.QwenImageTransformer2DModel(
        **{**SHAPE, "in_channels": 32, "out_channels": 8},
        use_additional_t_cond=True,
        use_layer3d_rope=True,
    )
    return {**_editor(), "vae": _patched_autoencoder(4, **latents), "transformer": network}


CASES = (
    small_case("QwenImagePipeline", _parts, **GUIDED),
    small_case("QwenImageImg2ImgPipeline", _parts, **GUIDED, image=picture(), strength=0.6),
    small_case(
        "QwenImageInpaintPipeline",
        _parts,
        **GUIDED,
        image=picture(),
        mask_image=mask(),
        strength=0.6,
    ),
    small_case("QwenImageControlNetPipeline", _controlnet, **GUIDED, control_image=picture()),
    small_case(
        "QwenImageControlNetInpaintPipeline",
        _controlnet_inpaint,
        **GUIDED,
        control_image=picture(),
        control_mask=mask(),
    ),
    small_case("QwenImageEditPipeline", _editor, **EDITED, image=picture()),
    small_case("QwenImageEditPlusPipeline", _editor, **EDITED, image=[picture(), picture(seed=1)]),
    small_case(
        "QwenImageEditInpaintPipeline",
        _editor,
        **EDITED,
        image=picture(),
        mask_image=mask(),
        strength=0.6,
    ),
    small_case(
        "QwenImageLayeredPipeline",
        _layered,
        **LAYERED,
        image=picture().convert("RGBA"),
        layers=2,
    ),
)
