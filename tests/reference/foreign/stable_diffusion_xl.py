"""Small pipelines of Stable Diffusion XL."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.reference.checkpoints import BETAS, diffusers, unet
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    ask_for_words,
    clip_processor,
    clip_vision,
    make_case,
    mask,
    picture,
    stable_diffusion_xl,
)
from tests.reference.foreign.stable_diffusion import load_ip_adapter

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

AESTHETIC: dict[str, Any] = {"projection_class_embeddings_input_dim": 8 * 5 + 20}
"""The shape of a refiner's UNet, which hears how beautiful a picture is, not its target size."""


def _with_image_encoder() -> dict[str, Any]:
    seeing = {"image_encoder": clip_vision(16), "feature_extractor": clip_processor()}
    return stable_diffusion_xl(**seeing)


def _turbo() -> dict[str, Any]:
    scheduler = diffusers.EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    return stable_diffusion_xl(scheduler=scheduler)


def _refiner() -> dict[str, Any]:
    parts = stable_diffusion_xl(unet=unet("sdxl", **AESTHETIC, cross_attention_dim=24))
    return {**parts, "text_encoder": None, "tokenizer": None, "requires_aesthetics_score": True}


def _with_channels(channels: int) -> dict[str, Any]:
    return stable_diffusion_xl(unet=unet("sdxl", in_channels=channels))


_draw = partial(make_case, "StableDiffusionXLPipeline")
_draw_on = partial(make_case, "StableDiffusionXLImg2ImgPipeline")
_fill = partial(make_case, "StableDiffusionXLInpaintPipeline")


def _ask_to_fill(**more: Any) -> dict[str, Any]:
    drawn = {"image": picture(), "mask_image": mask(), "height": 32, "width": 32}
    return ask_for_words(**drawn, num_inference_steps=3, **more)


CASES: tuple[ForeignCase, ...] = (
    _draw(stable_diffusion_xl, ask_for_words),
    _draw(
        stable_diffusion_xl,
        partial(
            ask_for_words,
            prompt_2="in the snow",
            negative_prompt="blurred",
            original_size=(64, 64),
            crops_coords_top_left=(8, 0),
            guidance_rescale=0.7,
        ),
        "two prompts, sizes",
    ),
    _draw(
        _turbo,
        partial(ask_for_words, num_inference_steps=1, guidance_scale=0.0),
        "one step",
    ),
    _draw(
        stable_diffusion_xl,
        partial(ask_for_words, num_inference_steps=4, denoising_end=0.6, output_type="latent"),
        "first part of a run",
    ),
    _draw(
        _with_image_encoder,
        lambda: ask_for_words(ip_adapter_image=picture()),
        "IP-Adapter",
        load_ip_adapter,
    ),
    _draw_on(
        stable_diffusion_xl,
        lambda: ask_for_words(image=picture(), num_inference_steps=3, strength=0.7),
    ),
    _draw_on(
        _refiner,
        lambda: ask_for_words(image=picture(), num_inference_steps=4, denoising_start=0.4),
        "refiner",
    ),
    _fill(stable_diffusion_xl, _ask_to_fill),
    _fill(partial(_with_channels, 9), _ask_to_fill, "9 channels"),
    make_case(
        "StableDiffusionXLInstructPix2PixPipeline",
        partial(_with_channels, 8),
        lambda: ask_for_words(image=picture(), height=32, width=32),
    ),
)
