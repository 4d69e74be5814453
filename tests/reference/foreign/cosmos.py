"""Small pipelines of Cosmos, which makes worlds."""

from __future__ import annotations

from typing import Any

import torch

from tests.reference.checkpoints import diffusers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_video import (
    DECODER,
    WIDTH,
    Arguments,
    ask_for_film,
    chat_tokenizer,
    euler,
    make_case,
    picture,
    qwen_seeing,
    t5,
    wan_vae,
)

TRANSFORMER: dict[str, Any] = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 2,
    "mlp_ratio": 2.0,
    "text_embed_dim": WIDTH,
    "adaln_lora_dim": 4,
    "max_size": (4, 32, 32),
    "patch_size": (1, 2, 2),
    "concat_padding_mask": False,
}
"""Without the mask of a picture's rim: making it smaller takes torchvision."""

SECOND: dict[str, Any] = {"in_channels": 16, "out_channels": 16, "extra_pos_embed_type": None}


class Unguarded(torch.nn.Module):
    """Lets every prompt and every film pass: Cosmos does not run without somebody who checks."""

    device, dtype = torch.device("cpu"), torch.float32

    def check_text_safety(self, prompt: str) -> bool:
        return True

    def check_video_safety(self, video: Any) -> Any:
        return video


def _vae() -> Any:
    return diffusers.AutoencoderKLCosmos(
        latent_channels=4,
        encoder_block_out_channels=(8, 8, 8, 8),
        decode_block_out_channels=(8, 8, 8, 8),
        attention_resolutions=(8,),
        resolution=64,
        num_layers=2,
        patch_size=4,
        spatial_compression_ratio=4,
        temporal_compression_ratio=4,
    )


def _first(**changes: Any) -> Arguments:
    def make() -> dict[str, Any]:
        transformer = diffusers.CosmosTransformer3DModel(**{**TRANSFORMER, **changes})
        scheduler = diffusers.EDMEulerScheduler(
            sigma_min=0.002, sigma_max=80, sigma_data=0.5, final_sigmas_type="sigma_min"
        )
        parts = {"transformer": transformer, "vae": _vae(), "scheduler": scheduler}
        return {**t5(), **parts, "safety_checker": Unguarded()}

    return make


def _second(**changes: Any) -> Arguments:
    def make() -> dict[str, Any]:
        transformer = diffusers.CosmosTransformer3DModel(**{**TRANSFORMER, **SECOND, **changes})
        scheduler = euler(use_karras_sigmas=True)
        parts = {"transformer": transformer, "vae": wan_vae(), "scheduler": scheduler}
        return {**t5(), **parts, "safety_checker": Unguarded()}

    return make


def _ask(**more: Any) -> Arguments:
    return lambda: ask_for_film(**{"max_sequence_length": 24, **more})


def _ask_for_picture() -> dict[str, Any]:
    arguments = _ask()()
    del arguments["num_frames"]
    return arguments


def _unipc() -> Any:
    return diffusers.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, use_karras_sigmas=False
    )


def _newest() -> dict[str, Any]:
    transformer = diffusers.CosmosTransformer3DModel(
        **{**TRANSFORMER, **SECOND, "in_channels": 17},
        use_crossattn_projection=True,
        crossattn_proj_in_channels=WIDTH * DECODER["num_hidden_layers"],
        encoder_hidden_states_channels=WIDTH,
    )
    parts = {"transformer": transformer, "vae": wan_vae(), "scheduler": _unipc()}
    return {**qwen_seeing(), **parts, "safety_checker": Unguarded()}


def _omni() -> dict[str, Any]:
    transformer = diffusers.Cosmos3OmniTransformer(
        head_dim=16,
        hidden_size=WIDTH,
        intermediate_size=48,
        latent_channel=16,
        patch_latent_dim=64,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_hidden_layers=2,
        rope_axes_dim=[4, 2, 2],
        vocab_size=DECODER["vocab_size"],
    )
    return {
        "transformer": transformer,
        "text_tokenizer": chat_tokenizer("<|vision_start|>"),
        "vae": wan_vae(),
        "scheduler": _unipc(),
        "enable_safety_checker": False,
    }


NOT_BUILT: dict[str, str] = {
    "Cosmos2_5_TransferPipeline": ("makes a mask smaller with torchvision, which is not installed"),
}
"""Why a class of this family has no case."""

CASES: tuple[ForeignCase, ...] = (
    make_case("CosmosTextToWorldPipeline", _first(), _ask(num_frames=9)),
    make_case(
        "CosmosVideoToWorldPipeline",
        _first(in_channels=5),
        lambda: _ask(image=picture(), num_frames=9)(),
    ),
    make_case("Cosmos2TextToImagePipeline", _second(), _ask_for_picture),
    make_case(
        "Cosmos2VideoToWorldPipeline", _second(in_channels=17), lambda: _ask(image=picture())()
    ),
    make_case("Cosmos2_5_PredictBasePipeline", _newest, _ask(max_sequence_length=256)),
    make_case("Cosmos3OmniPipeline", _omni, ask_for_film),
    make_case("Cosmos3OmniPipeline (with a picture)", _omni, lambda: ask_for_film(image=picture())),
)
