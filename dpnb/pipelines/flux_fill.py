"""FLUX.1 Fill: a part of a picture drawn anew by a network that sees the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import TypeVar, override

from dpnb.pipelines import checked_inputs
from dpnb.pipelines.argument_checks import check_channels
from dpnb.pipelines.beginnings import SeesBeside
from dpnb.pipelines.call_order import FLUX_GIVEN, OUTPUT, STEP_CALLBACK
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.flux import FluxPipelineOutput
from dpnb.pipelines.flux_arguments import FluxArguments
from dpnb.pipelines.flux_conditions import (
    NO_NEGATIVE,
    NOT_STEERED,
    ConditionedFlux,
)
from dpnb.pipelines.flux_edit import FluxPictureArguments
from dpnb.pipelines.flux_picture_loop_parts import FluxFillLoopParts
from dpnb.pipelines.inpainting import FromMaskedPicture, InpaintingArguments
from dpnb.pipelines.pictures.inputs import repeat_batch
from dpnb.pipelines.protocols import LatentPipeline

KNOWN = "known"
"""The tensor of a run that holds what the network sees of the picture and of its mask."""


@dataclass(frozen=True, kw_only=True)
class FluxFillArguments(FluxPictureArguments, InpaintingArguments):
    """The arguments of `FluxFillPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "prompt_2",
        "image",
        "mask_image",
        "masked_image_latents",
        "height",
        "width",
        "strength",
        "num_inference_steps",
        "sigmas",
        "guidance_scale",
        *FLUX_GIVEN,
        *OUTPUT,
        "joint_attention_kwargs",
        *STEP_CALLBACK,
        "max_sequence_length",
    )
    absent: ClassVar[frozenset[str]] = FluxArguments.absent | NOT_STEERED | {"padding_mask_crop"}
    refused: ClassVar[Mapping[str, str]] = {**FluxArguments.refused, **NO_NEGATIVE}

    num_inference_steps: int = 50
    guidance_scale: float = 30.0
    strength: float = 1.0


A = TypeVar("A", bound=FluxFillArguments, default=Any)


@dataclass(frozen=True)
class FromFilledPicture(SeesBeside[A], FromMaskedPicture[A]):
    """The network sees the rest of the picture and every pixel of the mask, and draws all of it."""

    beside: ClassVar[str] = KNOWN

    @override
    def sees_mask(self, pipe: LatentPipeline[A]) -> bool:
        return True

    @override
    def check_network(self, pipe: LatentPipeline[A], arguments: A) -> None:
        if arguments.masked_image_latents is not None:
            raise ValueError(
                "masked_image_latents are made of image and mask_image here; leave them out."
            )
        if pipe.holds_latents(arguments.image):
            raise ValueError("latents cannot be masked for this network; give image as a picture.")

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        """Random numbers are drawn in the order of diffusers'."""
        count = arguments.picture_count
        if arguments.latents is None:
            known = repeat_batch(self.encode_image(pipe, arguments, device, like), count)
            noise = pipe.begin_latents(arguments, device, like)
            latents = self.add_noise(pipe, known, noise, timesteps, arguments)
        else:
            latents = pipe.begin_latents(arguments, device, like)
        mask = pipe.preprocess_mask(arguments.mask_image, *arguments.size)
        picture = (self.prepare_picture(pipe, arguments) * (1 - mask)).to(device, like.dtype)
        masked = pipe.encode_pictures(picture, arguments.generator).to(like.dtype)
        pixels = F.pixel_unshuffle(mask, pipe.vae_scale_factor).to(device, like.dtype)
        known = torch.cat((repeat_batch(masked, count), repeat_batch(pixels, count)), dim=1)
        return {"latents": latents, KNOWN: known}


class FluxFillPipeline(FluxFillLoopParts, ConditionedFlux[FluxFillArguments]):
    """A part of a picture drawn anew from words, with FLUX.1 Fill (Black Forest Labs, 2024)."""

    beginning = FromFilledPicture()

    check_input_names = checked_inputs.FLUX_FILL

    __call__ = make_call(FluxFillArguments, FluxPipelineOutput)
    stream = make_stream(FluxFillArguments, FluxPipelineOutput)

    @override
    def check_parts(self, arguments: FluxFillArguments) -> None:
        super().check_parts(arguments)
        check_channels(
            "transformer",
            self.network_channels,
            2 * self.drawn_channels + self.vae_scale_factor**2,
            "fills pictures",
            "the latents, of the rest of the picture and of the mask: use FluxInpaintPipeline with "
            "this one",
        )
