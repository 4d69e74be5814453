"""Small pipelines of AnimateDiff, which let a Stable Diffusion move."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.reference.checkpoints import diffusers, unet
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    ask_for_words,
    clip_processor,
    clip_vision,
    ddim,
    make_case,
    picture,
    stable_diffusion,
    stable_diffusion_xl,
)
from tests.reference.foreign.stable_diffusion import load_ip_adapter

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

FRAMES = 4

CHANNELS = (16, 32)

SHALLOW: dict[str, Any] = {
    "block_out_channels": CHANNELS,
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}

HEADS: dict[str, Any] = {"motion_num_attention_heads": 2, "motion_max_seq_length": 8}


def _motion(**changes: Any) -> Any:
    settings = {"motion_layers_per_block": 1, "motion_norm_num_groups": 8, **HEADS}
    return diffusers.MotionAdapter(**{**settings, "block_out_channels": CHANNELS, **changes})


def _moving(motion: Any = None, **changes: Any) -> dict[str, Any]:
    parts = stable_diffusion(unet=unet("sd1", **SHALLOW), scheduler=ddim())
    for name in ("safety_checker", "requires_safety_checker"):
        del parts[name]
    return {**parts, "motion_adapter": motion or _motion(), **changes}


def _with_image_encoder() -> dict[str, Any]:
    return _moving(image_encoder=clip_vision(16), feature_extractor=clip_processor())


def _moving_xl() -> dict[str, Any]:
    return stable_diffusion_xl(motion_adapter=_motion(use_motion_mid_block=False))


def _with_controlnet() -> dict[str, Any]:
    network = unet("sd1", **SHALLOW)
    kind = diffusers.ControlNetModel
    return _moving(controlnet=kind.from_unet(network, conditioning_embedding_out_channels=(8, 16)))


def _with_sparse_controlnet() -> dict[str, Any]:
    net = diffusers.SparseControlNetModel(
        block_out_channels=CHANNELS,
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        norm_num_groups=8,
        cross_attention_dim=24,
        attention_head_dim=4,
        conditioning_embedding_out_channels=(8, 16),
        conditioning_channels=3,
        use_simplified_condition_embedding=False,
        **HEADS,
    )
    return _moving(controlnet=net)


def _ask(**more: Any) -> dict[str, Any]:
    return ask_for_words(**{"num_frames": FRAMES, "decode_chunk_size": 2, **more})


def _film() -> list[Any]:
    return [picture(seed=seed) for seed in range(FRAMES)]


def _ask_for_film(**more: Any) -> dict[str, Any]:
    arguments = _ask(video=_film(), num_inference_steps=3, **more)
    del arguments["num_frames"]
    return arguments


def _ask_whole(**more: Any) -> dict[str, Any]:
    arguments = _ask(**more)
    del arguments["decode_chunk_size"]
    return arguments


def _noise_freely(pipe: Any) -> None:
    pipe.enable_free_init(num_iters=2, use_fast_sampling=False)


def _reach_far(pipe: Any) -> None:
    pipe.enable_free_noise(context_length=4, context_stride=2)


CASES: tuple[ForeignCase, ...] = (
    make_case("AnimateDiffPipeline", _moving, _ask),
    make_case(
        "AnimateDiffPipeline",
        _with_image_encoder,
        lambda: _ask(ip_adapter_image=picture()),
        "IP-Adapter",
        load_ip_adapter,
    ),
    make_case("AnimateDiffPipeline", _moving, _ask, "FreeInit", _noise_freely),
    make_case("AnimateDiffPipeline", _moving, partial(_ask, num_frames=6), "FreeNoise", _reach_far),
    make_case("AnimateDiffSDXLPipeline", _moving_xl, _ask_whole),
    make_case("AnimateDiffVideoToVideoPipeline", _moving, _ask_for_film),
    make_case(
        "AnimateDiffControlNetPipeline",
        _with_controlnet,
        lambda: _ask(conditioning_frames=_film()),
    ),
    make_case(
        "AnimateDiffVideoToVideoControlNetPipeline",
        _with_controlnet,
        lambda: _ask_for_film(conditioning_frames=_film()),
    ),
    make_case(
        "AnimateDiffSparseControlNetPipeline",
        _with_sparse_controlnet,
        lambda: _ask_whole(
            conditioning_frames=[picture(), picture(seed=2)], controlnet_frame_indices=[0, 3]
        ),
    ),
    make_case("AnimateDiffPAGPipeline", _moving, partial(_ask, pag_scale=3.0)),
    make_case(
        "PIAPipeline",
        lambda: _moving(_motion(conv_in_channels=9)),
        lambda: _ask_whole(image=picture()),
    ),
)
