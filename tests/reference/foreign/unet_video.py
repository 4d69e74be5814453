"""Small pipelines of video around a UNet."""

from __future__ import annotations

from typing import Any

import torch

from tests.reference.checkpoints import (
    BETAS,
    diffusers,
    text_encoder,
    unet,
)
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import (
    WIDTH,
    ask,
    ask_for_film,
    clip,
    eyes,
    film,
    make_case,
    picture,
    picture_vae,
)

BLOCKS: dict[str, Any] = {
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 24,
    "attention_head_dim": 4,
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
}


def _ddim(**changes: Any) -> Any:
    settings = {"clip_sample": False, "set_alpha_to_one": False, **BETAS}
    return diffusers.DDIMScheduler(**{**settings, **changes})


def _texts() -> dict[str, Any]:
    encoder, tokenizer = clip()
    return {"text_encoder": encoder, "tokenizer": tokenizer}


def _from_text() -> dict[str, Any]:
    network = diffusers.UNet3DConditionModel(**BLOCKS)
    return {**_texts(), "unet": network, "vae": picture_vae(), "scheduler": _ddim()}


def _from_text_and_picture() -> dict[str, Any]:
    network = diffusers.I2VGenXLUNet(**BLOCKS)
    seeing = eyes(projection=24)
    prepare = seeing.pop("image_processor")
    parts = {"unet": network, "vae": picture_vae(), "scheduler": _ddim()}
    return {**_texts(), **seeing, "feature_extractor": prepare, **parts}


def _stable() -> dict[str, Any]:
    network = diffusers.UNetSpatioTemporalConditionModel(
        block_out_channels=(32, 64),
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        num_attention_heads=(2, 4),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
    )
    vae = diffusers.AutoencoderKLTemporalDecoder(
        block_out_channels=(32, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        force_upcast=False,
    )
    seeing = eyes(projection=WIDTH, size=224)
    prepare = seeing.pop("image_processor")
    scheduler = diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction", use_karras_sigmas=True, timestep_type="continuous"
    )
    parts = {"unet": network, "vae": vae, "scheduler": scheduler}
    return {**seeing, "feature_extractor": prepare, **parts}


def _zero() -> dict[str, Any]:
    parts = {"unet": unet("sd1"), "vae": picture_vae(), "scheduler": _ddim()}
    unchecked = {"safety_checker": None, "feature_extractor": None}
    return {**_texts(), **parts, **unchecked, "requires_safety_checker": False}


def _zero_xl() -> dict[str, Any]:
    encoder, tokenizer = clip()
    return {
        "text_encoder": encoder,
        "tokenizer": tokenizer,
        "text_encoder_2": text_encoder(projects=True, act="gelu"),
        "tokenizer_2": tokenizer,
        "unet": unet("sdxl"),
        "vae": picture_vae(force_upcast=False),
        "scheduler": _ddim(steps_offset=1),
    }


def _ask_from_picture() -> dict[str, Any]:
    size = {"height": 32, "width": 32, "num_frames": 3}
    return ask(image=picture(), decode_chunk_size=2, **size)


def _ask_of_film() -> dict[str, Any]:
    return ask(prompt="a red fox", video=film(3), num_inference_steps=4, strength=0.75)


def _ask_zero() -> dict[str, Any]:
    """The first two of three steps make the first frame, which the other one follows."""
    times = {"t0": 0, "t1": 1, "video_length": 2, "num_inference_steps": 3}
    return ask(prompt="a red fox", height=32, width=32, **times)


def _ask_from_both() -> dict[str, Any]:
    """Seeds the generator of torch too, with which the picture is encoded."""
    torch.manual_seed(0)
    return ask_for_film(num_frames=3, image=picture(), clip_skip=None)


CASES: tuple[ForeignCase, ...] = (
    make_case("TextToVideoSDPipeline", _from_text, lambda: ask_for_film(num_frames=3)),
    make_case("VideoToVideoSDPipeline", _from_text, _ask_of_film),
    make_case("TextToVideoZeroPipeline", _zero, _ask_zero),
    make_case("TextToVideoZeroSDXLPipeline", _zero_xl, _ask_zero),
    make_case("I2VGenXLPipeline", _from_text_and_picture, _ask_from_both),
    make_case("StableVideoDiffusionPipeline", _stable, _ask_from_picture),
)
