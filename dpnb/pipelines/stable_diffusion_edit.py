"""Stable Diffusion 1 and 2 that begin with a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from dpnb.pipelines.arguments import takes
from dpnb.pipelines.image_to_image import ImageToImage, PictureArguments
from dpnb.pipelines.inpainting import Inpainting, InpaintingArguments
from dpnb.pipelines.stable_diffusion import StableDiffusionArguments, StableDiffusionPipeline
from dpnb.pipelines.steps import Step
from dpnb.pipelines.text_to_image import drain

BESIDE = (
    "num_inference_steps",
    "timesteps",
    "sigmas",
    "guidance_scale",
    "negative_prompt",
    "num_images_per_prompt",
    "eta",
    "generator",
)


@dataclass(frozen=True, kw_only=True)
class ImageToImageArguments(StableDiffusionArguments, PictureArguments):
    """What `StableDiffusionImg2ImgPipeline` can be asked; see the bases."""

    positional: ClassVar[tuple[str, ...]] = ("prompt", "image", "strength", *BESIDE)


@dataclass(frozen=True, kw_only=True)
class StableDiffusionInpaintArguments(StableDiffusionArguments, InpaintingArguments):
    """What `StableDiffusionInpaintPipeline` can be asked; see the bases."""

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
    )


class StableDiffusionImg2ImgPipeline(ImageToImage, StableDiffusionPipeline):
    """A picture and words to pictures, with Stable Diffusion 1 or 2 (Meng et al. 2021,
    arXiv:2108.01073).
    """

    @takes(ImageToImageArguments)
    def __call__(self, arguments: Any) -> Any:
        """Draw; see `StableDiffusionPipeline` and `PictureArguments`."""
        return drain(self.start(arguments))

    @takes(ImageToImageArguments)
    def stream(self, arguments: Any) -> Iterator[Step]:
        """Draw step by step; see `StableDiffusionPipeline.stream`."""
        return self.start(arguments)


class StableDiffusionInpaintPipeline(Inpainting, StableDiffusionPipeline):
    """A part of a picture drawn anew, with Stable Diffusion 1 or 2."""

    _callback_tensor_inputs: ClassVar[list[str]] = [
        *StableDiffusionPipeline._callback_tensor_inputs,
        "mask",
        "masked_image_latents",
    ]

    @takes(StableDiffusionInpaintArguments)
    def __call__(self, arguments: Any) -> Any:
        """Draw; see `StableDiffusionPipeline` and `InpaintingArguments`."""
        return drain(self.start(arguments))

    @takes(StableDiffusionInpaintArguments)
    def stream(self, arguments: Any) -> Iterator[Step]:
        """Draw step by step; see `StableDiffusionPipeline.stream`."""
        return self.start(arguments)
