"""Stable Diffusion XL that begins with a picture, or goes on where another model has stopped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import TypeVar, override

from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.call_order import XL_GIVEN
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import steps_after
from dpnb.pipelines.image_to_image import FromPicture, PictureArguments, StrengthStart
from dpnb.pipelines.inpainting import FromMaskedPicture, InpaintingArguments
from dpnb.pipelines.loop_parts import PictureLoopParts
from dpnb.pipelines.mask_loop_parts import XLMaskLoopParts
from dpnb.pipelines.protocols import LatentPipeline
from dpnb.pipelines.stable_diffusion_xl import (
    StableDiffusionXLArguments,
    StableDiffusionXLPipeline,
    StableDiffusionXLPipelineOutput,
)
from dpnb.pipelines.xl_loop_parts import XLPictureLoopParts
from dpnb.schedulers.scheduler import Scheduler

if TYPE_CHECKING:
    from transformers import (
        CLIPImageProcessor,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionModelWithProjection,
    )

BESIDE = (
    "num_inference_steps",
    "timesteps",
    "sigmas",
    "denoising_start",
    "denoising_end",
    "guidance_scale",
    "negative_prompt",
    "negative_prompt_2",
    *XL_GIVEN,
)


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXLPictureArguments(StableDiffusionXLArguments, PictureArguments):
    """The arguments of Stable Diffusion XL with a picture; see the bases.

    Args:
        denoising_start: the share of the schedule that another model has gone through, between 0
            and 1: `image` holds its latents, no noise is added, and `strength` does not count.
        aesthetic_score: how beautiful the picture is to look, for a refiner.
        negative_aesthetic_score: the same for the negative prompt.
    """

    strength: float = 0.3
    denoising_start: float | None = None
    aesthetic_score: float = 6.0
    negative_aesthetic_score: float = 2.5

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        start, end = self.denoising_start, self.denoising_end
        if start is not None and not 0 < start < 1:
            raise ValueError(
                f"denoising_start is {start}; it is the share of the schedule that another model "
                "has gone through, between 0 and 1."
            )
        if start is not None and end is not None and start >= end:
            raise ValueError(
                f"denoising_start is {start} and denoising_end {end}; the end must come after the "
                "start."
            )

    @override
    def check_steps(self) -> None:
        if self.denoising_start is None:
            super().check_steps()


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXLImg2ImgArguments(StableDiffusionXLPictureArguments):
    """The arguments of `StableDiffusionXLImg2ImgPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = ("prompt", "prompt_2", "image", "strength", *BESIDE)


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXLInpaintArguments(StableDiffusionXLPictureArguments, InpaintingArguments):
    """The arguments of `StableDiffusionXLInpaintPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "prompt_2",
        "image",
        "mask_image",
        "masked_image_latents",
        "height",
        "width",
        "padding_mask_crop",
        "strength",
        *BESIDE,
    )

    strength: float = 0.9999
    guidance_scale: float = 7.5


A = TypeVar("A", bound=StableDiffusionXLPictureArguments, default=Any)


@dataclass(frozen=True)
class HandoverStart(StrengthStart[A]):
    """With `denoising_start` a run begins where another model has stopped."""

    @override
    def find_index(
        self, pipe: LatentPipeline[A], timesteps: Tensor, count: int, arguments: A
    ) -> int:
        if arguments.denoising_start is None:
            return super().find_index(pipe, timesteps, count, arguments)
        return len(timesteps) - steps_after(pipe.scheduler, timesteps, arguments.denoising_start)

    @override
    def is_noisy(self, arguments: A) -> bool:
        """What another model has left has its noise."""
        return arguments.denoising_start is not None


class _BeginsWithPicture(XLPictureLoopParts, StableDiffusionXLPipeline[A]):
    """The base of both pipelines here."""

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel | None,
        text_encoder_2: CLIPTextModelWithProjection | None,
        tokenizer: CLIPTokenizer | None,
        tokenizer_2: CLIPTokenizer | None,
        unet: UNet2DConditionModel,
        scheduler: Scheduler,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        requires_aesthetics_score: bool = False,
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = None,
    ) -> None:
        super().__init__(
            vae,
            text_encoder,
            text_encoder_2,
            tokenizer,
            tokenizer_2,
            unet,
            scheduler,
            image_encoder,
            feature_extractor,
            force_zeros_for_empty_prompt,
            add_watermarker,
        )
        self.register_to_config(requires_aesthetics_score=requires_aesthetics_score)

    @override
    def time_ids(self, arguments: A, like: Tensor) -> Tensor:
        """Here all of one kind come before all of the other.

        Returns:
            `[entries, 6]`, or with `requires_aesthetics_score` `[entries, 5]`.
        """
        original = arguments.original_size or arguments.size
        target = arguments.target_size or arguments.size
        crop = arguments.crops_coords_top_left
        negative_original = arguments.negative_original_size or original
        if self._settings["requires_aesthetics_score"]:
            score, negative_score = arguments.aesthetic_score, arguments.negative_aesthetic_score
            negative_crop = arguments.negative_crops_coords_top_left
            ids: tuple[float, ...] = (*original, *crop, score)
            against: tuple[float, ...] = (*negative_original, *negative_crop, negative_score)
        else:
            ids = (*original, *crop, *target)
            against = (*negative_original, *crop, *(arguments.negative_target_size or target))
        kinds = (against, ids) if self.do_classifier_free_guidance else (ids,)
        both = torch.tensor(kinds, dtype=like.dtype, device=like.device)
        return both.repeat_interleave(arguments.picture_count, dim=0)


class StableDiffusionXLImg2ImgPipeline(
    PictureLoopParts, _BeginsWithPicture[StableDiffusionXLImg2ImgArguments]
):
    """A picture and words to pictures, with Stable Diffusion XL or its refiner.

    Podell et al. (2023, arXiv:2307.01952) describe both.
    """

    beginning = FromPicture(HandoverStart())

    check_input_names = checked_inputs.XL_PICTURE

    __call__ = make_call(StableDiffusionXLImg2ImgArguments, StableDiffusionXLPipelineOutput)
    stream = make_stream(StableDiffusionXLImg2ImgArguments, StableDiffusionXLPipelineOutput)


class StableDiffusionXLInpaintPipeline(
    XLMaskLoopParts, _BeginsWithPicture[StableDiffusionXLInpaintArguments]
):
    """A part of a picture drawn anew, with Stable Diffusion XL."""

    beginning = FromMaskedPicture(HandoverStart())

    check_input_names = checked_inputs.XL_MASK

    __call__ = make_call(StableDiffusionXLInpaintArguments, StableDiffusionXLPipelineOutput)
    stream = make_stream(StableDiffusionXLInpaintArguments, StableDiffusionXLPipelineOutput)

    _callback_tensor_inputs: ClassVar[list[str]] = [
        *StableDiffusionXLPipeline._callback_tensor_inputs,
        "mask",
        "masked_image_latents",
    ]
