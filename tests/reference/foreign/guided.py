"""Small pipelines of Stable Diffusion that guide otherwise: perturbed attention, boxes, edits."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.reference.checkpoints import transformers, unet
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.conditioned import with_controlnet, with_controlnet_xl
from tests.reference.foreign.parts_classic import (
    ask_for_words,
    clip_processor,
    clip_vision,
    make_case,
    mask,
    picture,
    stable_diffusion,
    stable_diffusion_xl,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""

_perturb = partial(ask_for_words, pag_scale=3.0)


def _perturb_on(**more: Any) -> dict[str, Any]:
    return _perturb(image=picture(), num_inference_steps=3, strength=0.7, **more)


def _perturb_filling(**more: Any) -> dict[str, Any]:
    drawn = {"image": picture(), "mask_image": mask(), "height": 32, "width": 32}
    return _perturb(**drawn, num_inference_steps=3, **more)


PERTURBED: tuple[ForeignCase, ...] = (
    make_case("StableDiffusionPAGPipeline", stable_diffusion, _perturb),
    make_case(
        "StableDiffusionPAGPipeline",
        partial(stable_diffusion, pag_applied_layers=["down_blocks.1", "mid"]),
        partial(_perturb, pag_adaptive_scale=0.1, guidance_scale=0.0),
        "adaptive, without other guidance",
    ),
    make_case("StableDiffusionPAGImg2ImgPipeline", stable_diffusion, _perturb_on),
    make_case("StableDiffusionPAGInpaintPipeline", stable_diffusion, _perturb_filling),
    make_case("StableDiffusionXLPAGPipeline", stable_diffusion_xl, _perturb),
    make_case("StableDiffusionXLPAGImg2ImgPipeline", stable_diffusion_xl, _perturb_on),
    make_case("StableDiffusionXLPAGInpaintPipeline", stable_diffusion_xl, _perturb_filling),
    make_case(
        "StableDiffusionControlNetPAGPipeline",
        with_controlnet,
        lambda: _perturb(image=picture(seed=2)),
    ),
    make_case(
        "StableDiffusionXLControlNetPAGPipeline",
        with_controlnet_xl,
        lambda: _perturb(image=picture(seed=2)),
    ),
    make_case(
        "StableDiffusionControlNetPAGInpaintPipeline",
        with_controlnet,
        lambda: _perturb_filling(control_image=picture(seed=2)),
    ),
    make_case(
        "StableDiffusionXLControlNetPAGImg2ImgPipeline",
        with_controlnet_xl,
        lambda: _perturb_on(control_image=picture(seed=2)),
    ),
)


def _with_boxes(kind: str) -> dict[str, Any]:
    return stable_diffusion(unet=unet("sd1", attention_type=kind))


def _with_boxes_and_pictures() -> dict[str, Any]:
    from diffusers.pipelines.stable_diffusion import CLIPImageProjection

    parts = _with_boxes("gated-text-image") | {"image_encoder": clip_vision(24)}
    parts["processor"] = transformers.CLIPProcessor(clip_processor(), parts["tokenizer"])
    parts["image_project"] = CLIPImageProjection(hidden_size=24)
    return parts


CASES: tuple[ForeignCase, ...] = (
    *PERTURBED,
    make_case(
        "StableDiffusionGLIGENPipeline",
        partial(_with_boxes, "gated"),
        partial(
            ask_for_words,
            gligen_phrases=["a hat"],
            gligen_boxes=[[0.1, 0.2, 0.5, 0.6]],
            gligen_scheduled_sampling_beta=0.5,
        ),
    ),
    make_case(
        "StableDiffusionGLIGENTextImagePipeline",
        _with_boxes_and_pictures,
        lambda: ask_for_words(
            gligen_phrases=["a hat"],
            gligen_images=[picture()],
            gligen_boxes=[[0.1, 0.2, 0.5, 0.6]],
            gligen_scheduled_sampling_beta=0.5,
        ),
    ),
    make_case("StableDiffusionSAGPipeline", stable_diffusion, ask_for_words),
)
