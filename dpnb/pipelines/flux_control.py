"""FLUX.1 Depth and Canny: pictures that follow the depth or the edges of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
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
from dpnb.pipelines.given_pictures import parse_picture
from dpnb.pipelines.pictures.inputs import FORMS, PictureInput, Pictures
from dpnb.pipelines.protocols import LatentPipeline

CONTROL = PictureInput("control_image", "Control", "the depth or the edges to follow")

CONTROL_LATENTS = "control_latents"


@dataclass(frozen=True, kw_only=True)
class FluxControlArguments(FluxArguments):
    """The arguments of `FluxControlPipeline`, beside those of FLUX.

    Args:
        control_image: the depth, the edges or whatever the network was trained to follow, or one
            for each prompt, in the forms that pictures have. A tensor by itself, not in a list, is
            encoded as it is: it has the size that is drawn, and -1 is black.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "prompt_2",
        "control_image",
        "height",
        "width",
        "num_inference_steps",
        "sigmas",
        "guidance_scale",
        *FLUX_GIVEN,
        *OUTPUT,
        "joint_attention_kwargs",
        *STEP_CALLBACK,
        "max_sequence_length",
    )
    absent: ClassVar[frozenset[str]] = FluxArguments.absent | NOT_STEERED
    refused: ClassVar[Mapping[str, str]] = {**FluxArguments.refused, **NO_NEGATIVE}

    control_image: Any = None

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        count = len(self.control_image)
        if count not in (1, self.batch_size, self.picture_count):
            raise ValueError(
                f"control_image holds {count} pictures for {self.batch_size} prompts; give one, or "
                "one for each prompt."
            )


A = TypeVar("A", bound=FluxControlArguments, default=Any)


@dataclass(frozen=True)
class FromControlledNoise(SeesBeside[A]):
    """A run begins with noise, and the network sees a picture that is to be followed beside it."""

    beside: ClassVar[str] = CONTROL_LATENTS

    picture_inputs: ClassVar[tuple[PictureInput, ...]] = (CONTROL,)

    @override
    def resolve(self, pipe: LatentPipeline[A], arguments: A) -> A:
        if arguments.control_image is None:
            raise ValueError(
                f"{type(pipe).__name__} follows a picture; give control_image=, {FORMS}."
            )
        control = parse_picture(pipe, CONTROL.argument, arguments.control_image)
        arguments = replace(arguments, control_image=control)
        return arguments.with_default_size(*pipe.default_size())

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        control = self._encode(pipe, arguments, device, like)
        return {
            "latents": pipe.begin_latents(arguments, device, like),
            CONTROL_LATENTS: control.to(like.dtype),
        }

    def _encode(
        self, pipe: LatentPipeline[A], arguments: A, device: torch.device, like: Tensor
    ) -> Tensor:
        """The latents of the picture to follow, one for each picture that is drawn."""
        control: Pictures = arguments.control_image
        copies = arguments.picture_count // len(control)
        if isinstance(control.content, Tensor) and pipe.holds_latents(control):
            return control.content.to(device, like.dtype).repeat_interleave(copies, dim=0)
        picture = self._prepare(pipe, control, arguments.size).to(device, like.dtype)
        if len(control) == 1:
            return pipe.encode_pictures(picture, arguments.generator, copies)
        return pipe.encode_pictures(picture.repeat_interleave(copies, dim=0), arguments.generator)

    def _prepare(self, pipe: LatentPipeline[A], control: Pictures, size: tuple[int, int]) -> Tensor:
        if not isinstance(control.content, Tensor) or not control.is_bare:
            return pipe.preprocess(control, *size)
        if control.size != size:
            raise ValueError(
                f"control_image is a tensor of {control.size[1]} x {control.size[0]} pixels, and "
                f"{size[1]} x {size[0]} are drawn; give a PIL picture, which is resized, or a "
                "tensor of that size."
            )
        return control.content


class FluxControlPipeline(ConditionedFlux[FluxControlArguments]):
    """Pictures that follow another one, with FLUX.1 Depth or Canny (Black Forest Labs, 2024)."""

    beginning = FromControlledNoise()

    check_input_names = checked_inputs.FLUX_CONTROL

    __call__ = make_call(FluxControlArguments, FluxPipelineOutput)
    stream = make_stream(FluxControlArguments, FluxPipelineOutput)

    @override
    def check_parts(self, arguments: FluxControlArguments) -> None:
        super().check_parts(arguments)
        check_channels(
            "transformer",
            self.network_channels,
            2 * self.drawn_channels,
            "follows a picture",
            "the latents and of that picture: use FluxPipeline with this one",
        )
