"""Small pipelines of Stable Cascade and Würstchen, whose latents are very small."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.reference.checkpoints import diffusers
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    Arguments,
    ask_for_words,
    clip_processor,
    clip_text,
    clip_vision,
    make_case,
    noise,
    picture,
    tokenizer,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

WIDTH = 24

BLOCKS = ("SDCascadeResBlock", "SDCascadeTimestepBlock", "SDCascadeAttnBlock")


def _scheduler() -> Any:
    return diffusers.DDPMWuerstchenScheduler()


def _vqgan() -> Any:
    from diffusers.pipelines.deprecated.wuerstchen import PaellaVQModel

    return PaellaVQModel(bottleneck_blocks=1, embed_dim=16, num_vq_embeddings=32)


def _read() -> dict[str, Any]:
    return {"tokenizer": tokenizer(), "text_encoder": clip_text(projection=WIDTH)}


def _cascade(**changes: Any) -> Any:
    settings: dict[str, Any] = {
        "timestep_ratio_embedding_dim": 16,
        "conditioning_dim": WIDTH,
        "block_out_channels": (16, 32),
        "num_attention_heads": (2, 2),
        "down_num_layers_per_block": (1, 1),
        "up_num_layers_per_block": (1, 1),
        "clip_text_pooled_in_channels": WIDTH,
        "block_types_per_layer": (BLOCKS, BLOCKS),
        "clip_seq": 2,
    }
    return diffusers.models.StableCascadeUNet(**{**settings, **changes})


def _cascade_prior() -> dict[str, Any]:
    network = _cascade(
        clip_text_in_channels=WIDTH, clip_image_in_channels=WIDTH, switch_level=(False,)
    )
    seeing = {"image_encoder": clip_vision(WIDTH), "feature_extractor": clip_processor()}
    return {"prior": network, "scheduler": _scheduler(), **_read(), **seeing}


def _cascade_decoder() -> dict[str, Any]:
    network = _cascade(
        in_channels=4,
        out_channels=4,
        patch_size=2,
        effnet_in_channels=16,
        pixel_mapper_in_channels=3,
        timestep_conditioning_type=("sca",),
        block_types_per_layer=(BLOCKS[:2], BLOCKS),
    )
    return {"decoder": network, "scheduler": _scheduler(), "vqgan": _vqgan(), **_read()}


def _wuerstchen_prior() -> dict[str, Any]:
    from diffusers.pipelines.deprecated.wuerstchen import WuerstchenPrior

    network = WuerstchenPrior(c_in=16, c=16, c_cond=WIDTH, c_r=16, depth=2, nhead=2)
    network.out[1].weight.data *= 0.1  # it divides by one minus the half of what comes out
    return {"prior": network, "scheduler": _scheduler(), **_text()}


def _wuerstchen_decoder() -> dict[str, Any]:
    from diffusers.pipelines.deprecated.wuerstchen import WuerstchenDiffNeXt

    network = WuerstchenDiffNeXt(
        c_r=16,
        c_cond=WIDTH,
        c_hidden=[16, 32],
        nhead=[-1, 2],
        blocks=[1, 1],
        level_config=["CT", "CTA"],
        inject_effnet=[False, True],
        clip_embd=WIDTH,
    )
    return {"decoder": network, "scheduler": _scheduler(), "vqgan": _vqgan(), **_text()}


def _text() -> dict[str, Any]:
    return {"tokenizer": tokenizer(), "text_encoder": clip_text()}


def _combined(prior: Arguments, decoder: Arguments) -> dict[str, Any]:
    return {**decoder(), **{f"prior_{name}": part for name, part in prior().items()}}


def _ask_prior(**more: Any) -> dict[str, Any]:
    return ask_for_words(**{"height": 128, "width": 128, "output_type": "pt", **more})


def _ask_decoder() -> dict[str, Any]:
    return ask_for_words(image_embeddings=noise(1, 16, 3, 3, seed=3), guidance_scale=2.0)


def _ask_twice(**more: Any) -> dict[str, Any]:
    sizes = {"height": 128, "width": 128}
    return ask_for_words(**sizes, prior_num_inference_steps=2, decoder_guidance_scale=2.0, **more)


CASES: tuple[ForeignCase, ...] = (
    make_case("StableCascadePriorPipeline", _cascade_prior, _ask_prior),
    make_case(
        "StableCascadePriorPipeline",
        _cascade_prior,
        lambda: _ask_prior(images=[picture()]),
        "with a picture",
    ),
    make_case("StableCascadeDecoderPipeline", _cascade_decoder, _ask_decoder),
    make_case(
        "StableCascadeCombinedPipeline",
        partial(_combined, _cascade_prior, _cascade_decoder),
        _ask_twice,
    ),
    make_case("WuerstchenPriorPipeline", _wuerstchen_prior, _ask_prior),
    make_case("WuerstchenDecoderPipeline", _wuerstchen_decoder, _ask_decoder),
    make_case(
        "WuerstchenCombinedPipeline",
        partial(_combined, _wuerstchen_prior, _wuerstchen_decoder),
        _ask_twice,
    ),
)
