"""FLUX.1 that begins with a picture, or draws a part of one anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import TypeVar, override

from dpnb.pipelines import checked_inputs
from dpnb.pipelines.call_order import FLUX_GIVEN
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.flux import FluxPipeline, FluxPipelineOutput
from dpnb.pipelines.flux_arguments import FluxArguments
from dpnb.pipelines.flux_picture_loop_parts import FluxMaskLoopParts, FluxPictureLoopParts
from dpnb.pipelines.image_to_image import FromPicture, PictureArguments, begun_steps
from dpnb.pipelines.inpainting import FromMaskedPicture, InpaintingArguments
from dpnb.pipelines.pictures.inputs import Pictures, repeat_batch
from dpnb.pipelines.protocols import LatentPipeline

WORDS = ("prompt", "prompt_2", "negative_prompt", "negative_prompt_2", "true_cfg_scale")
STEPS = ("strength", "num_inference_steps", "sigmas", "guidance_scale", *FLUX_GIVEN)


@dataclass(frozen=True, kw_only=True)
class FluxPictureArguments(FluxArguments, PictureArguments):
    """The arguments of FLUX with a picture; see the bases.

    Args:
        height: of the pictures, in pixels; the model's own by default.
        width: likewise.
    """

    strength: float = 0.6
    guidance_scale: float = 7.0

    @override
    def steps_left(self, count: int) -> int:
        """Steps that a strength leaves in part are taken."""
        return begun_steps(count, self.strength)


@dataclass(frozen=True, kw_only=True)
class FluxImg2ImgArguments(FluxPictureArguments):
    """The arguments of `FluxImg2ImgPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = (*WORDS, "image", "height", "width", *STEPS)


@dataclass(frozen=True, kw_only=True)
class FluxInpaintArguments(FluxPictureArguments, InpaintingArguments):
    """The arguments of `FluxInpaintPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = (
        *WORDS,
        "image",
        "mask_image",
        "masked_image_latents",
        "height",
        "width",
        "padding_mask_crop",
        *STEPS,
    )

    strength: float = 0.6


A = TypeVar("A", bound=FluxPictureArguments, default=Any)
M = TypeVar("M", bound=FluxInpaintArguments, default=Any)


@dataclass(frozen=True)
class FromFlowedPicture(FromPicture[A]):
    """A run begins on the straight way between a picture's latents and noise."""

    calls_prepare_latents: ClassVar[bool] = False

    @override
    def own_size(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        """The size that the model was made for; of latents, their own."""
        return super().own_size(pipe, image) if pipe.holds_latents(image) else pipe.default_size()

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        """Given latents are those to begin with, as they are."""
        if arguments.latents is not None:
            return {"latents": pipe.begin_latents(arguments, device, like)}
        latents = self.encode_image(pipe, arguments, device, like)
        latents = repeat_batch(latents, arguments.picture_count)
        return {"latents": self.add_noise(pipe, latents, None, timesteps, arguments)}


@dataclass(frozen=True)
class FromFlowedMaskedPicture(FromMaskedPicture[M]):
    """A run draws where a mask is white; elsewhere it follows the way to the picture."""

    @override
    def is_from_noise(self, arguments: M) -> bool:
        """Only latents that are given are taken as noise alone."""
        return False


class FluxImg2ImgPipeline(FluxPictureLoopParts, FluxPipeline[FluxImg2ImgArguments]):
    """Pictures and words to pictures with FLUX.1."""

    beginning = FromFlowedPicture()

    check_input_names = checked_inputs.FLUX_PICTURE

    __call__ = make_call(FluxImg2ImgArguments, FluxPipelineOutput)
    stream = make_stream(FluxImg2ImgArguments, FluxPipelineOutput)


class FluxInpaintPipeline(FluxMaskLoopParts, FluxPipeline[FluxInpaintArguments]):
    """A part of a picture, drawn anew from words with FLUX.1."""

    beginning = FromFlowedMaskedPicture()

    check_input_names = checked_inputs.FLUX_MASK

    __call__ = make_call(FluxInpaintArguments, FluxPipelineOutput)
    stream = make_stream(FluxInpaintArguments, FluxPipelineOutput)
