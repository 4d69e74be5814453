"""Small pipelines of Stable Diffusion that edit a picture or its making."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tests.reference.checkpoints import BETAS, diffusers, transformers, unet, vae
from tests.reference.foreign.case import ForeignCase
from tests.reference.foreign.parts_classic import (
    UNCHECKED,
    VISION,
    ask,
    ask_for_words,
    clip_processor,
    ddim,
    deep_vae,
    make_case,
    mask,
    noise,
    picture,
    stable_diffusion,
    stable_diffusion_xl,
)

NOT_BUILT: dict[str, str] = {}
"""Why a class of this family has no case."""


def _parallel() -> dict[str, Any]:
    return stable_diffusion(scheduler=diffusers.DDIMParallelScheduler(**BETAS, clip_sample=False))


def _with_inverse() -> dict[str, Any]:
    inverse = diffusers.DDIMInverseScheduler(**BETAS, clip_sample=False, set_alpha_to_zero=False)
    return stable_diffusion(inverse_scheduler=inverse)


def _pix2pix_zero() -> dict[str, Any]:
    return {**_with_inverse(), "caption_generator": None, "caption_processor": None}


def _panorama() -> dict[str, Any]:
    return stable_diffusion(vae=deep_vae())


def _example_encoder() -> Any:
    from diffusers.pipelines.deprecated.paint_by_example.image_encoder import (
        PaintByExampleImageEncoder,
    )

    sizes: dict[str, Any] = {"hidden_size": 24, "intermediate_size": 48, "num_attention_heads": 4}
    shape = {**VISION, **sizes, "num_hidden_layers": 4, "projection_dim": 24}
    return PaintByExampleImageEncoder(transformers.CLIPVisionConfig(**shape), proj_size=24)


def _by_example() -> dict[str, Any]:
    return {
        "unet": unet("sd1", in_channels=9),
        "vae": vae(),
        "image_encoder": _example_encoder(),
        "scheduler": ddim(),
        **UNCHECKED,
        "feature_extractor": clip_processor(),
    }


def _solver() -> Any:
    return diffusers.DPMSolverMultistepScheduler(
        **BETAS, algorithm_type="sde-dpmsolver++", solver_order=2
    )


def _invert(pipe: Any) -> None:
    pipe.invert(picture(), num_inversion_steps=3, skip=0.2, generator=ask()["generator"])


def _edit_model(pipe: Any) -> None:
    pipe.edit_model("a fox", "a red fox", lamb=0.1)


def _embed(seed: int) -> Any:
    return noise(1, 77, 24, seed=seed)


def _ask_to_edit() -> dict[str, Any]:
    steered = {"editing_prompt": ["in the snow"], "edit_guidance_scale": 3.0}
    arguments = ask(**steered, edit_threshold=0.7, use_intersect_mask=False)
    del arguments["num_inference_steps"]
    return arguments


CASES: tuple[ForeignCase, ...] = (
    make_case(
        "StableDiffusionAttendAndExcitePipeline",
        stable_diffusion,
        partial(ask_for_words, token_indices=[2, 4], thresholds={0: 0.0}),
    ),
    make_case(
        "StableDiffusionPanoramaPipeline",
        _panorama,
        partial(ask_for_words, height=32, width=576, circular_padding=True),
    ),
    make_case(
        "SemanticStableDiffusionPipeline",
        stable_diffusion,
        partial(
            ask_for_words,
            editing_prompt=["snow", "a hat"],
            reverse_editing_direction=[False, True],
            edit_warmup_steps=0,
            num_inference_steps=3,
        ),
    ),
    make_case("StableDiffusionPipelineSafe", stable_diffusion, ask_for_words),
    make_case(
        "StableDiffusionLDM3DPipeline",
        lambda: stable_diffusion(vae=vae(in_channels=6, out_channels=6), image_encoder=None),
        ask_for_words,
    ),
    make_case(
        "StableDiffusionDiffEditPipeline",
        _with_inverse,
        lambda: ask_for_words(
            mask_image=np.asarray(mask(16), dtype=np.float32) / 255,
            image_latents=noise(1, 2, 4, 16, 16),
            num_inference_steps=3,
            inpaint_strength=0.8,
        ),
    ),
    make_case(
        "CycleDiffusionPipeline",
        stable_diffusion,
        lambda: ask_for_words(
            source_prompt="a fox", image=picture(), num_inference_steps=3, guidance_scale=3.0
        ),
    ),
    make_case(
        "StableDiffusionModelEditingPipeline",
        stable_diffusion,
        ask_for_words,
        finish=_edit_model,
    ),
    make_case(
        "StableDiffusionParadigmsPipeline",
        _parallel,
        partial(ask_for_words, parallel=2, num_inference_steps=3),
    ),
    make_case(
        "StableDiffusionPix2PixZeroPipeline",
        _pix2pix_zero,
        lambda: ask_for_words(source_embeds=_embed(1), target_embeds=_embed(2)),
    ),
    make_case(
        "PaintByExamplePipeline",
        _by_example,
        lambda: ask(image=picture(), mask_image=mask(), example_image=picture(seed=2)),
    ),
    make_case(
        "LEditsPPPipelineStableDiffusion",
        lambda: stable_diffusion(scheduler=_solver()),
        _ask_to_edit,
        finish=_invert,
    ),
    make_case(
        "LEditsPPPipelineStableDiffusionXL",
        lambda: stable_diffusion_xl(scheduler=_solver()),
        _ask_to_edit,
        finish=_invert,
    ),
)
