"""Small pipelines of CogVideoX."""

from __future__ import annotations

from typing import Any

from tests.reference.checkpoints import diffusers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import (
    WIDTH,
    Arguments,
    ask,
    ask_for_film,
    film,
    make_case,
    picture,
    t5,
)


def _vae() -> Any:
    return diffusers.AutoencoderKLCogVideoX(
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )


def _parts(scheduler: str = "CogVideoXDDIMScheduler", **changes: Any) -> Arguments:
    settings = {
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "in_channels": 4,
        "out_channels": 4,
        "time_embed_dim": 8,
        "text_embed_dim": WIDTH,
        "num_layers": 2,
        "sample_width": 4,
        "sample_height": 4,
        "sample_frames": 9,
        "max_text_seq_length": 24,
    }

    def make() -> dict[str, Any]:
        transformer = diffusers.CogVideoXTransformer3DModel(**{**settings, **changes})
        made = getattr(diffusers, scheduler)(
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            prediction_type="v_prediction",
        )
        return {**t5(), "transformer": transformer, "vae": _vae(), "scheduler": made}

    return make


def _ask(**more: Any) -> Arguments:
    return lambda: ask_for_film(max_sequence_length=24, num_frames=9, **more)


def _ask_over(name: str) -> Arguments:
    size = {"max_sequence_length": 24, "height": 32, "width": 32, "num_inference_steps": 3}
    return lambda: ask(prompt="a red fox", **size, **{name: film(9)})


SEEING: dict[str, Any] = {
    "in_channels": 8,
    "use_rotary_positional_embeddings": True,
    "use_learned_positional_embeddings": True,
}
NEWER: dict[str, Any] = {
    "patch_size_t": 2,
    "use_rotary_positional_embeddings": True,
    "patch_bias": False,
}

CASES: tuple[ForeignCase, ...] = (
    make_case("CogVideoXPipeline", _parts(), _ask()),
    make_case(
        "CogVideoXPipeline (1.5)",
        _parts("CogVideoXDPMScheduler", **NEWER),
        _ask(num_inference_steps=3, use_dynamic_cfg=True),
    ),
    make_case(
        "CogVideoXImageToVideoPipeline",
        _parts(**SEEING),
        lambda: _ask(image=picture())(),
    ),
    make_case("CogVideoXVideoToVideoPipeline", _parts(), _ask_over("video")),
    make_case(
        "CogVideoXFunControlPipeline",
        _parts(in_channels=8),
        _ask_over("control_video"),
    ),
)
