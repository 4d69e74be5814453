"""Stable Diffusion 1, 2 and XL that change a picture as an instruction says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.argument_checks import check_channels
from dpnb.pipelines.arguments import CountedStepsArguments
from dpnb.pipelines.beginnings import SeesBeside
from dpnb.pipelines.call_order import (
    FORMER_CALLBACK,
    GIVEN,
    OUTPUT,
    SIZES,
    STEP_CALLBACK,
    XL_GIVEN,
)
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import match_deviation
from dpnb.pipelines.given_pictures import GivenPictureArguments, WithPicture
from dpnb.pipelines.guidance import Guidance, GuidedPipeline
from dpnb.pipelines.mask_loop_parts import InstructionLoopParts
from dpnb.pipelines.pictures.inputs import Pictures, repeat_batch
from dpnb.pipelines.protocols import LatentPipeline
from dpnb.pipelines.stable_diffusion import (
    StableDiffusionArguments,
    StableDiffusionPipeline,
    StableDiffusionPipelineOutput,
)
from dpnb.pipelines.stable_diffusion_xl import (
    StableDiffusionXLArguments,
    StableDiffusionXLPipeline,
    StableDiffusionXLPipelineOutput,
)
from dpnb.pipelines.unet_pipeline import UNetPipeline
from dpnb.schedulers.scheduler import Scheduler

if TYPE_CHECKING:
    from transformers import (
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
    )

IMAGE_LATENTS = "image_latents"

INSTRUCTED_STEPS = 100

GUIDED = ("prompt_embeds", "add_text_embeds", "add_time_ids")
"""The conditions that differ with and without the instruction."""


@dataclass(frozen=True, kw_only=True)
class InstructionArguments(GivenPictureArguments, CountedStepsArguments):
    """The arguments of pipelines that follow an instruction, beside those of their family.

    Args:
        prompt: what to change.
        image_guidance_scale: how strongly the picture steers; below 1 nothing does.
    """

    num_inference_steps: int = INSTRUCTED_STEPS
    image_guidance_scale: float = 1.5


@dataclass(frozen=True, kw_only=True)
class StableDiffusionInstructPix2PixArguments(StableDiffusionArguments, InstructionArguments):
    """The arguments of `StableDiffusionInstructPix2PixPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "image",
        "num_inference_steps",
        "guidance_scale",
        "image_guidance_scale",
        "negative_prompt",
        *GIVEN,
    )
    keywords: ClassVar[tuple[str, ...]] = (*OUTPUT, *STEP_CALLBACK, "cross_attention_kwargs")

    num_inference_steps: int = INSTRUCTED_STEPS


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXLInstructPix2PixArguments(StableDiffusionXLArguments, InstructionArguments):
    """The arguments of `StableDiffusionXLInstructPix2PixPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "prompt_2",
        "image",
        "height",
        "width",
        "num_inference_steps",
        "denoising_end",
        "guidance_scale",
        "image_guidance_scale",
        "negative_prompt",
        "negative_prompt_2",
        *XL_GIVEN,
        *OUTPUT,
        *FORMER_CALLBACK,
        "cross_attention_kwargs",
        "guidance_rescale",
        *SIZES,
    )
    absent: ClassVar[frozenset[str]] = InstructionArguments.absent | {
        "negative_original_size",
        "negative_crops_coords_top_left",
        "negative_target_size",
    }

    num_inference_steps: int = INSTRUCTED_STEPS


A = TypeVar("A", bound=InstructionArguments)


class InstructedPipeline(GuidedPipeline, Protocol):
    """A pipeline, as guidance by a picture and an instruction sees it."""

    @property
    def image_guidance_scale(self) -> float:
        """Of the present run."""
        ...


@dataclass(frozen=True)
class InstructionGuidance(Guidance[InstructedPipeline]):
    """Away from what the network says without the instruction, and without the picture.

    Brooks et al. (2022, arXiv:2211.09800), eq. 3.
    """

    @override
    def predict(
        self, pipe: InstructedPipeline, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        is_guided = pipe.do_classifier_free_guidance
        shown = torch.cat([latents] * 3) if is_guided else latents
        noise_pred = pipe.predict_noise(pipe.scheduler.scale_model_input(shown, t), t, tensors)
        if not is_guided:
            return noise_pred
        without, pictured, given = noise_pred.chunk(3)
        guided = (
            without
            + pipe.guidance_scale * (given - pictured)
            + pipe.image_guidance_scale * (pictured - without)
        )
        return match_deviation(guided, given, pipe.guidance_rescale)


@dataclass(frozen=True)
class BesidePicture(SeesBeside[A], WithPicture[A]):
    """A run begins with noise, and the network sees the latents of a picture beside it.

    Args:
        is_own_size: draw in the picture's size where none is asked for, else in the model's.
    """

    beside: ClassVar[str] = IMAGE_LATENTS

    is_own_size: bool = True

    @override
    def own_size(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        is_own = self.is_own_size or pipe.holds_latents(image)
        return super().own_size(pipe, image) if is_own else pipe.default_size()

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        beside = repeat_batch(
            self.encode_beside(pipe, arguments, device, like), arguments.picture_count
        )
        if pipe.do_classifier_free_guidance:
            beside = torch.cat((torch.zeros_like(beside), beside, beside))
        noise = pipe.sample_noise(arguments, pipe.vae.config.latent_channels, device, like)
        return {"latents": noise * pipe.scheduler.init_noise_sigma, IMAGE_LATENTS: beside}

    def encode_beside(
        self, pipe: LatentPipeline[A], arguments: A, device: torch.device, like: Tensor
    ) -> Tensor:
        """What the network sees of the pictures, in the dtype of `like`: means that are not scaled.

        Args:
            pipe: the pipeline.
            arguments: of the run.
            device: where it computes.
            like: anything in the dtype of the run.
        """
        image: Pictures = arguments.image
        if isinstance(image.content, Tensor) and pipe.holds_latents(image):
            return image.content.to(device, like.dtype)
        picture = self.prepare_picture(pipe, arguments).to(device, like.dtype)
        return pipe.encode_picture_means(picture).to(like.dtype)


@dataclass(frozen=True)
class BesideScaledPicture(BesidePicture[A]):
    """As `BesidePicture`, of latents that are scaled where the pipeline's settings say so."""

    is_own_size: bool = False

    @override
    def encode_beside(self, pipe: Any, arguments: A, device: torch.device, like: Tensor) -> Tensor:
        beside: Tensor = pipe._scale_means(super().encode_beside(pipe, arguments, device, like))
        return beside


class InstructPix2Pix(InstructionLoopParts, UNetPipeline[Any, Any]):
    """What both pipelines have: three looks at every latent, and a picture beside it."""

    guidance = InstructionGuidance()
    check_input_names = checked_inputs.INSTRUCTION

    _image_guidance_scale: float = 1.0

    @property
    def image_guidance_scale(self) -> float:
        """How strongly the picture steers the present or last run."""
        return self._image_guidance_scale

    @property
    @override
    def do_classifier_free_guidance(self) -> bool:
        return super().do_classifier_free_guidance and self._image_guidance_scale >= 1

    @override
    def _begin(self, arguments: InstructionArguments) -> None:
        super()._begin(arguments)
        self._image_guidance_scale = arguments.image_guidance_scale

    @override
    def check_parts(self, arguments: InstructionArguments) -> None:
        super().check_parts(arguments)
        check_channels(
            "UNet",
            self.network_channels,
            2 * self.vae.config.latent_channels,
            "follows instructions",
            "the latents and of the picture beside them",
        )

    @override
    def encode_conditions(
        self, arguments: InstructionArguments, device: torch.device
    ) -> dict[str, Tensor]:
        """Without the instruction they come twice: without the picture, and with it."""
        tensors = super().encode_conditions(arguments, device)  # type: ignore[safe-super]
        if not self.do_classifier_free_guidance:
            return tensors
        for name in [name for name in GUIDED if name in tensors]:
            without, given = tensors[name].chunk(2)
            tensors[name] = torch.cat((without, without, given))
        return tensors


class StableDiffusionInstructPix2PixPipeline(
    InstructPix2Pix, StableDiffusionPipeline[StableDiffusionInstructPix2PixArguments]
):
    """A picture, changed as an instruction says (Brooks et al. 2022, arXiv:2211.09800)."""

    beginning = BesidePicture()
    outdated_settings: ClassVar[Mapping[str, Any]] = {}

    __call__ = make_call(StableDiffusionInstructPix2PixArguments, StableDiffusionPipelineOutput)
    stream = make_stream(StableDiffusionInstructPix2PixArguments, StableDiffusionPipelineOutput)

    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds", IMAGE_LATENTS]


class StableDiffusionXLInstructPix2PixPipeline(
    InstructPix2Pix, StableDiffusionXLPipeline[StableDiffusionXLInstructPix2PixArguments]
):
    """A picture, changed as an instruction says, with Stable Diffusion XL."""

    beginning = BesideScaledPicture()
    check_input_names = checked_inputs.XL_INSTRUCTION

    __call__ = make_call(StableDiffusionXLInstructPix2PixArguments, StableDiffusionXLPipelineOutput)
    stream = make_stream(StableDiffusionXLInstructPix2PixArguments, StableDiffusionXLPipelineOutput)

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel | None,
        text_encoder_2: CLIPTextModelWithProjection | None,
        tokenizer: CLIPTokenizer | None,
        tokenizer_2: CLIPTokenizer | None,
        unet: UNet2DConditionModel,
        scheduler: Scheduler,
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = None,
        is_cosxl_edit: bool | None = False,
    ) -> None:
        super().__init__(
            vae,
            text_encoder,
            text_encoder_2,
            tokenizer,
            tokenizer_2,
            unet,
            scheduler,
            force_zeros_for_empty_prompt=force_zeros_for_empty_prompt,
            add_watermarker=add_watermarker,
        )
        if is_cosxl_edit:
            self.register_to_config(is_cosxl_edit=True)

    @property
    def is_cosxl_edit(self) -> bool:
        """Whether the picture's latents are scaled, as for CosXL."""
        return bool(self._settings.get("is_cosxl_edit"))

    @override
    def _scale_means(self, means: Tensor) -> Tensor:
        return means * self.vae.config.scaling_factor if self.is_cosxl_edit else means
