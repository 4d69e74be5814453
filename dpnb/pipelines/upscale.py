"""Stable Diffusion that draws a picture four times as large."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.errors import ComponentError
from dpnb.generators import randn
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.argument_checks import check_channels
from dpnb.pipelines.arguments import CountedStepsArguments
from dpnb.pipelines.beginnings import SeesBeside
from dpnb.pipelines.call_order import FORMER_CALLBACK, GIVEN, OUTPUT
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import last_entries
from dpnb.pipelines.given_pictures import GivenPictureArguments, WithPicture
from dpnb.pipelines.latents import first_generators
from dpnb.pipelines.pictures.inputs import Pictures, repeat_batch
from dpnb.pipelines.protocols import LatentPipeline
from dpnb.pipelines.stable_diffusion import (
    StableDiffusionArguments,
    StableDiffusionPipeline,
    StableDiffusionPipelineOutput,
)
from dpnb.schedulers.diffusion import DiffusionScheduler
from dpnb.schedulers.scheduler import Scheduler

if TYPE_CHECKING:
    from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer

    from dpnb.pipelines.safety import StableDiffusionSafetyChecker

logger = logging.getLogger(__name__)

SMALL = "small_picture"
"""The tensor of a run that holds the picture to enlarge, with noise."""

NOISE_LEVELS = "noise_levels"

COLOURS = 3

SCALING_FACTOR = 0.08333
"""Of the autoencoder that the network was trained with; its first files say another."""


@dataclass(frozen=True, kw_only=True)
class UpscaleArguments(StableDiffusionArguments, GivenPictureArguments, CountedStepsArguments):
    """The arguments of `StableDiffusionUpscalePipeline`; see the bases.

    Args:
        image: the picture to enlarge, or one for each that is drawn.
        noise_level: the timestep whose noise the picture gets before it is enlarged; more of it
            leaves more to be made up.
        height: of the picture that is drawn, in pixels: the given one's times what the autoencoder
            enlarges by.
        width: likewise.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "image",
        "num_inference_steps",
        "guidance_scale",
        "noise_level",
        "negative_prompt",
        *GIVEN,
        *OUTPUT,
        *FORMER_CALLBACK,
        "cross_attention_kwargs",
        "clip_skip",
    )
    num_inference_steps: int = 75
    guidance_scale: float = 9.0
    noise_level: int = 20

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        if self.noise_level < 0:
            raise ValueError(f"noise_level is {self.noise_level}; it is a timestep, at least 0.")

    @override
    def unit(self, scale: int) -> int:
        """The small picture's sides are multiples of the scale themselves."""
        return scale * scale


A = TypeVar("A", bound=UpscaleArguments)


@dataclass(frozen=True)
class FromSmallPicture(SeesBeside[A], WithPicture[A]):
    """A run begins with noise, and the network sees a small picture, noised too, beside it."""

    beside: ClassVar[str] = SMALL

    @override
    def own_size(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        height, width = super().own_size(pipe, image)
        return height * pipe.vae_scale_factor, width * pipe.vae_scale_factor

    @override
    def parse_pictures(self, pipe: LatentPipeline[A], arguments: A) -> A:
        arguments = super().parse_pictures(pipe, arguments)
        if pipe.holds_latents(arguments.image):
            raise ValueError("image holds latents, and a picture is enlarged here; give a picture.")
        return arguments

    @override
    def make_tensors(
        self,
        pipe: Any,
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        scale, count = pipe.vae_scale_factor, arguments.picture_count
        sides = [side // scale for side in arguments.size]
        small = pipe.preprocess(arguments.image, *sides).to(device, like.dtype)
        own = first_generators(arguments.generator, len(small))
        noise = randn(small.shape, generator=own, device=device, dtype=like.dtype)
        level = torch.tensor([arguments.noise_level], device=device)
        small = repeat_batch(pipe.low_res_scheduler.add_noise(small, noise, level), count)
        noise = pipe.sample_noise(arguments, pipe.vae.config.latent_channels, device, like)
        looks = 2 if pipe.do_classifier_free_guidance else 1
        return {
            "latents": noise * pipe.scheduler.init_noise_sigma,
            SMALL: torch.cat([small] * looks),
            NOISE_LEVELS: level.repeat(count * looks),
        }


class StableDiffusionUpscalePipeline(StableDiffusionPipeline[UpscaleArguments]):
    """A picture and words to a picture four times as high and wide.

    It is a latent diffusion model (Rombach et al. 2022, arXiv:2112.10752, section 4.4) that sees
    the small picture with noise, and is told how much (Ho et al. 2021, arXiv:2106.15282).
    """

    _optional_components: ClassVar[list[str]] = [
        "watermarker",
        "safety_checker",
        "feature_extractor",
    ]
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds", SMALL]
    may_upcast_vae: ClassVar[bool] = True
    resample: ClassVar[str] = "bicubic"
    outdated_settings: ClassVar[Mapping[str, Any]] = {}

    low_res_scheduler: DiffusionScheduler

    beginning = FromSmallPicture()
    arguments_class = UpscaleArguments
    check_input_names = checked_inputs.UPSCALE

    __call__ = make_call(UpscaleArguments, StableDiffusionPipelineOutput)
    stream = make_stream(UpscaleArguments, StableDiffusionPipelineOutput)

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        low_res_scheduler: DiffusionScheduler,
        scheduler: Scheduler,
        safety_checker: StableDiffusionSafetyChecker | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        watermarker: None = None,
        max_noise_level: int = 350,
    ) -> None:
        if watermarker is not None:
            raise ComponentError(
                "watermarker marks pictures invisibly, which dpnb does not do; leave it out and "
                "mark the pictures afterwards."
            )
        super().__init__(
            vae,
            text_encoder,
            tokenizer,
            unet,
            scheduler,
            safety_checker,
            feature_extractor,
            requires_safety_checker=False,
        )
        self._settings.clear()
        self.register_modules(low_res_scheduler=low_res_scheduler, watermarker=None)
        self.register_to_config(max_noise_level=max_noise_level)
        if vae is not None and vae.config.scaling_factor != SCALING_FACTOR:
            logger.info(
                "the autoencoder's scaling_factor=%r is outdated; %r is used.",
                vae.config.scaling_factor,
                SCALING_FACTOR,
            )
            vae.register_to_config(scaling_factor=SCALING_FACTOR)

    @property
    @override
    def size_unit(self) -> int:
        return max(self.vae_scale_factor**2, 8)

    @override
    def check_parts(self, arguments: UpscaleArguments) -> None:
        super().check_parts(arguments)
        check_channels(
            "UNet",
            self.network_channels,
            self.vae.config.latent_channels + COLOURS,
            "enlarges pictures",
            "the latents and of the small picture beside them",
        )
        most = self._settings["max_noise_level"]
        if arguments.noise_level > most:
            raise ValueError(
                f"noise_level is {arguments.noise_level}; this model was trained with at most "
                f"{most}."
            )

    @override
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        prediction: Tensor = self.unet(
            self.beginning.join_channels(self, latents, tensors),
            t,
            encoder_hidden_states=last_entries(tensors["prompt_embeds"], latents),
            class_labels=last_entries(tensors[NOISE_LEVELS], latents),
            return_dict=False,
        )[0]
        return prediction
