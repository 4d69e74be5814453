"""Small pipelines of Wan, and of the families that are built from its parts."""

from __future__ import annotations

from typing import Any

from tests.reference.checkpoints import diffusers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import (
    WIDTH,
    Arguments,
    ask,
    ask_for_film,
    eyes,
    film,
    make_case,
    picture,
    t5,
    wan_vae,
)

TRANSFORMER: dict[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "text_dim": WIDTH,
    "freq_dim": 32,
    "ffn_dim": 48,
    "num_layers": 2,
    "rope_max_seq_len": 32,
}
WITH_EYES: dict[str, Any] = {"in_channels": 36, "image_dim": WIDTH, "added_kv_proj_dim": WIDTH}
CHUNKS: dict[str, Any] = {"history_sizes": [4, 2, 1], "num_latent_frames_per_chunk": 3}
"""Of films that Helios makes piece by piece."""


def _flow(**settings: Any) -> Any:
    return diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, **settings
    )


def _parts(kind: str = "WanTransformer3DModel", **changes: Any) -> Arguments:
    def make() -> dict[str, Any]:
        transformer = getattr(diffusers, kind)(**{**TRANSFORMER, **changes})
        return {**t5(umt5=True), "transformer": transformer, "vae": wan_vae(), "scheduler": _flow()}

    return make


def _looking(kind: str = "WanTransformer3DModel", **changes: Any) -> Arguments:
    parts = _parts(kind, **{**WITH_EYES, **changes})
    return lambda: {**parts(), **eyes()}


def _twice(**changes: Any) -> Arguments:
    parts = _parts(**changes)

    def make() -> dict[str, Any]:
        second = diffusers.WanTransformer3DModel(**{**TRANSFORMER, **changes})
        return {**parts(), "transformer_2": second, "boundary_ratio": 0.9}

    return make


def _small_residual() -> dict[str, Any]:
    vae = wan_vae(
        z_dim=8,
        base_dim=8,
        decoder_base_dim=8,
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        scale_factor_spatial=16,
        latents_mean=[0.1] * 8,
        latents_std=[0.9] * 8,
    )
    return {**_parts(in_channels=8, out_channels=8)(), "vae": vae, "expand_timesteps": True}


def _edited_after() -> dict[str, Any]:
    return {**_small_residual(), "transformer": _lucy()}


def _lucy() -> Any:
    return diffusers.WanTransformer3DModel(**{**TRANSFORMER, "in_channels": 16, "out_channels": 8})


def _animated() -> dict[str, Any]:
    sizes = {str(4 * 2**level): 8 for level in range(4)}
    return _looking(
        "WanAnimateTransformer3DModel",
        motion_encoder_channel_sizes=sizes,
        motion_encoder_size=32,
        motion_style_dim=16,
        motion_dim=4,
        motion_encoder_dim=16,
        face_encoder_hidden_dim=16,
        face_encoder_num_heads=2,
        inject_face_latents_blocks=2,
    )()


def _skyreels(**changes: Any) -> Arguments:
    return _parts("SkyReelsV2Transformer3DModel", **changes)


def _skyreels_looking() -> dict[str, Any]:
    parts = _skyreels(**{**WITH_EYES})()
    return {**parts, **eyes(projection=WIDTH)}


def _anyflow(kind: str, **changes: Any) -> Arguments:
    parts = _parts(kind, **changes)
    return lambda: {**parts(), "scheduler": diffusers.FlowMapEulerDiscreteScheduler()}


def _helios(stages: int) -> Arguments:
    shape = {key: value for key, value in TRANSFORMER.items() if key != "rope_max_seq_len"}

    def make() -> dict[str, Any]:
        transformer = diffusers.HeliosTransformer3DModel(**shape, rope_dim=(8, 4, 4))
        scheduler = diffusers.HeliosScheduler(stages=stages)
        return {
            **t5(umt5=True),
            "transformer": transformer,
            "vae": wan_vae(),
            "scheduler": scheduler,
        }

    return make


def _ask(**more: Any) -> Arguments:
    return lambda: ask_for_film(max_sequence_length=24, **more)


def _ask_over(name: str, **more: Any) -> Arguments:
    return lambda: _ask(**{name: picture() if name == "image" else film(), **more})()


def _ask_for_pyramid() -> dict[str, Any]:
    arguments = _ask(**CHUNKS, pyramid_num_inference_steps_list=[1, 1, 1])()
    del arguments["num_inference_steps"]
    return {**arguments, "height": 64, "width": 64}


def _ask_of_film() -> dict[str, Any]:
    words = {"prompt": "a red fox", "max_sequence_length": 24}
    return ask(**words, height=32, width=32, video=film(), num_inference_steps=3)


def _ask_to_animate() -> dict[str, Any]:
    arguments = {"prompt": "a red fox", "max_sequence_length": 24, "height": 32, "width": 32}
    films = {"pose_video": film(5), "face_video": film(5), "segment_frame_length": 5}
    return ask(image=picture(), **films, **arguments)


CASES: tuple[ForeignCase, ...] = (
    make_case("WanPipeline", _parts(), _ask()),
    make_case("WanPipeline (two transformers)", _twice(), _ask(num_inference_steps=3)),
    make_case("WanPipeline (residual autoencoder)", _small_residual, _ask()),
    make_case("WanImageToVideoPipeline", _looking(), _ask_over("image")),
    make_case(
        "WanImageToVideoPipeline (two transformers)", _twice(in_channels=36), _ask_over("image")
    ),
    make_case(
        "WanVACEPipeline",
        _parts("WanVACETransformer3DModel", vace_layers=[0, 1], vace_in_channels=96),
        _ask_over("video"),
    ),
    make_case("WanVideoToVideoPipeline", _parts(), _ask_of_film),
    make_case("WanAnimatePipeline", _animated, _ask_to_animate),
    make_case("ChronoEditPipeline", _looking("ChronoEditTransformer3DModel"), _ask_over("image")),
    make_case("LucyEditPipeline", _edited_after, _ask_over("video")),
    make_case("AnyFlowPipeline", _anyflow("AnyFlowTransformer3DModel"), _ask()),
    make_case(
        "AnyFlowFARPipeline", _anyflow("AnyFlowFARTransformer3DModel"), _ask(chunk_partition=[1, 1])
    ),
    make_case("HeliosPipeline", _helios(1), _ask(**CHUNKS)),
    make_case("HeliosPyramidPipeline", _helios(3), _ask_for_pyramid),
    make_case("SkyReelsV2Pipeline", _skyreels(), _ask()),
    make_case("SkyReelsV2ImageToVideoPipeline", _skyreels_looking, _ask_over("image")),
    make_case("SkyReelsV2DiffusionForcingPipeline", _skyreels(), _ask()),
    make_case("SkyReelsV2DiffusionForcingImageToVideoPipeline", _skyreels(), _ask_over("image")),
    make_case(
        "SkyReelsV2DiffusionForcingVideoToVideoPipeline",
        _skyreels(),
        _ask_over("video", num_frames=9, base_num_frames=9, overlap_history=1),
    ),
)
