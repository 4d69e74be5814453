"""Stable Diffusion 1 and 2 that begin with a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from dpnb.pipelines import checked_inputs
from dpnb.pipelines.call_order import COUNTS
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.checked_inputs import EMBEDS
from dpnb.pipelines.image_to_image import FromPicture, PictureArguments
from dpnb.pipelines.inpainting import FromMaskedPicture, InpaintingArguments
from dpnb.pipelines.loop_parts import PictureLoopParts
from dpnb.pipelines.mask_loop_parts import MaskLoopParts
from dpnb.pipelines.stable_diffusion import (
    StableDiffusionArguments,
    StableDiffusionPipeline,
    StableDiffusionPipelineOutput,
)

BESIDE = (
    "num_inference_steps",
    "timesteps",
    "sigmas",
    "guidance_scale",
    "negative_prompt",
    *COUNTS,
)


@dataclass(frozen=True, kw_only=True)
class StableDiffusionImg2ImgArguments(StableDiffusionArguments, PictureArguments):
    """The arguments of `StableDiffusionImg2ImgPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = ("prompt", "image", "strength", *BESIDE, *EMBEDS)


@dataclass(frozen=True, kw_only=True)
class StableDiffusionInpaintArguments(StableDiffusionArguments, InpaintingArguments):
    """The arguments of `StableDiffusionInpaintPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "image",
        "mask_image",
        "masked_image_latents",
        "height",
        "width",
        "padding_mask_crop",
        "strength",
        *BESIDE,
        "latents",
        *EMBEDS,
    )


class StableDiffusionImg2ImgPipeline(
    PictureLoopParts, StableDiffusionPipeline[StableDiffusionImg2ImgArguments]
):
    """A picture and words to pictures, with Stable Diffusion 1 or 2.

    Noise is added to the picture, and taken out again (Meng et al. 2021, arXiv:2108.01073).
    """

    beginning = FromPicture()

    check_input_names = checked_inputs.PICTURE

    __call__ = make_call(StableDiffusionImg2ImgArguments, StableDiffusionPipelineOutput)
    stream = make_stream(StableDiffusionImg2ImgArguments, StableDiffusionPipelineOutput)


class StableDiffusionInpaintPipeline(
    MaskLoopParts, StableDiffusionPipeline[StableDiffusionInpaintArguments]
):
    """A part of a picture drawn anew, with Stable Diffusion 1 or 2."""

    outdated_settings: ClassVar[Mapping[str, Any]] = {"steps_offset": 1, "skip_prk_steps": True}

    beginning = FromMaskedPicture()

    check_input_names = checked_inputs.MASK

    __call__ = make_call(StableDiffusionInpaintArguments, StableDiffusionPipelineOutput)
    stream = make_stream(StableDiffusionInpaintArguments, StableDiffusionPipelineOutput)

    _callback_tensor_inputs: ClassVar[list[str]] = [
        *StableDiffusionPipeline._callback_tensor_inputs,
        "mask",
        "masked_image_latents",
    ]
