"""Stable Diffusion 1 and 2."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import TypeVar, override

from dpnb.errors import ComponentError
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.module_paths import find_elsewhere
from dpnb.output import Output
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.call_order import GIVEN
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import last_entries
from dpnb.pipelines.pictures.images import numpy_to_pil, postprocess
from dpnb.pipelines.prompts import (
    as_list,
    check_context,
    encode_tokens,
    prepend_negative,
    repeat_each,
    tokenize,
)
from dpnb.pipelines.unet_pipeline import UNetPipeline
from dpnb.schedulers.scheduler import Scheduler

__path__: list[str] = []
"""Scripts know files below this one, which are found by `dpnb.module_paths`."""

if TYPE_CHECKING:
    from transformers import (
        CLIPImageProcessor,
        CLIPTextModel,
        CLIPTokenizer,
        CLIPVisionModelWithProjection,
    )

    from dpnb.pipelines.safety import StableDiffusionSafetyChecker

logger = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)


@dataclass(eq=False)
class StableDiffusionPipelineOutput(Output):
    """What a run returns.

    Args:
        images: a list of pictures, an array or a tensor, as `output_type` asked.
        nsfw_content_detected: for each picture, whether the safety checker blackened it; `None`
            without one.
    """

    images: Any
    nsfw_content_detected: list[bool] | None


@dataclass(frozen=True)
class StableDiffusionArguments(Arguments):
    """The arguments of Stable Diffusion 1 and 2."""

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "height",
        "width",
        "num_inference_steps",
        "timesteps",
        "sigmas",
        "guidance_scale",
        "negative_prompt",
        *GIVEN,
    )


A = TypeVar("A", bound=StableDiffusionArguments, default=Any)


class StableDiffusionPipeline(UNetPipeline[A, StableDiffusionPipelineOutput]):
    """Text to pictures with Stable Diffusion 1 or 2 (Rombach et al. 2022, arXiv:2112.10752)."""

    model_cpu_offload_seq = "text_encoder->image_encoder->unet->vae"
    _optional_components: ClassVar[list[str]] = [
        "safety_checker",
        "feature_extractor",
        "image_encoder",
    ]
    _exclude_from_cpu_offload: ClassVar[list[str]] = ["safety_checker"]
    _callback_tensor_inputs: ClassVar[list[str]] = [
        "latents",
        "prompt_embeds",
        "negative_prompt_embeds",
    ]
    outdated_settings: ClassVar[Mapping[str, Any]] = {"steps_offset": 1, "clip_sample": False}
    """Settings that are wrong in the schedulers of the first public checkpoints: what is right."""

    tokenizer: Any
    text_encoder: Any
    safety_checker: Any
    feature_extractor: Any
    image_encoder: Any

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: Scheduler,
        safety_checker: StableDiffusionSafetyChecker | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        requires_safety_checker: bool = True,
    ) -> None:
        super().__init__()
        if safety_checker is not None and feature_extractor is None:
            raise ComponentError(
                "a safety_checker needs a feature_extractor, which prepares pictures for it; pass "
                "one, or safety_checker=None."
            )
        if safety_checker is None and requires_safety_checker:
            logger.warning(
                "this model asks for a safety checker and runs without one; pass "
                "requires_safety_checker=False to say that this is meant."
            )
        _correct_settings(scheduler, self.outdated_settings)
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            tokenizer=tokenizer,
            unet=unet,
            scheduler=scheduler,
            safety_checker=safety_checker,
            feature_extractor=feature_extractor,
            image_encoder=image_encoder,
        )
        self.register_to_config(requires_safety_checker=requires_safety_checker)

    arguments_class = StableDiffusionArguments

    __call__ = make_call(StableDiffusionArguments, StableDiffusionPipelineOutput)
    stream = make_stream(StableDiffusionArguments, StableDiffusionPipelineOutput)

    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        device: torch.device | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Encode prompts and negative prompts.

        Args:
            prompt: what to draw.
            device: where the embeddings go.
            num_images_per_prompt: copies of each.
            do_classifier_free_guidance: whether negative prompts are encoded too.
            negative_prompt: what not to draw.
            prompt_embeds: the prompt already encoded.
            negative_prompt_embeds: likewise.
            lora_scale: of low-rank weights, in this call alone.
            clip_skip: layers to leave out at the end.

        Returns:
            The embeddings, each `[prompts * num_images_per_prompt, tokens, channels]`; the second
            is `None` without guidance.
        """
        device = device or self._execution_device
        if prompt_embeds is None:
            texts = as_list(prompt if prompt is not None else "", 1)
            with self.scale_lora(lora_scale):
                prompt_embeds = self._encode(texts, device, clip_skip)
        if not do_classifier_free_guidance:
            negative_prompt_embeds = None
        elif negative_prompt_embeds is None:
            texts = as_list(negative_prompt or "", len(prompt_embeds))
            with self.scale_lora(lora_scale):
                negative_prompt_embeds = self._encode(texts, device, None)
        count, dtype = num_images_per_prompt, self.prompt_dtype(prompt_embeds)
        prompt_embeds = repeat_each(prompt_embeds.to(device, dtype), count)
        if negative_prompt_embeds is not None:
            dtype = self.prompt_dtype(negative_prompt_embeds)
            negative_prompt_embeds = repeat_each(negative_prompt_embeds.to(device, dtype), count)
        return prompt_embeds, negative_prompt_embeds

    def _encode_prompt(self, *args: Any, **kwargs: Any) -> Tensor:
        """What `encode_prompt` returns as one tensor, the negative prompts first."""
        given, negative = self.encode_prompt(*args, **kwargs)
        return prepend_negative(negative, given)

    @override
    def encode_conditions(self, arguments: A, device: torch.device) -> dict[str, Tensor]:
        given, negative = self.encode_prompt(
            arguments.prompt,
            device,
            arguments.num_images_per_prompt,
            self.do_classifier_free_guidance,
            arguments.negative_prompt,
            arguments.prompt_embeds,
            arguments.negative_prompt_embeds,
            clip_skip=self.clip_skip,
        )
        check_context(given, self.unet)
        tensors = {"prompt_embeds": prepend_negative(negative, given)}
        return tensors if negative is None else {**tensors, "negative_prompt_embeds": negative}

    @override
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        prediction: Tensor = self.unet(
            self.beginning.join_channels(self, latents, tensors),
            t,
            encoder_hidden_states=last_entries(tensors["prompt_embeds"], latents),
            timestep_cond=tensors.get("timestep_cond"),
            return_dict=False,
        )[0]
        return prediction

    @override
    def make_output(self, latents: Tensor, arguments: A) -> StableDiffusionPipelineOutput:
        if arguments.output_type == "latent":
            return StableDiffusionPipelineOutput(latents, None)
        pictures, flagged = self.run_safety_checker(
            self.decode_finite_pictures(latents), self._execution_device, self.dtype
        )
        are_signed = [not one for one in flagged or [False] * len(pictures)]
        images = self.postprocess(pictures, arguments.output_type, are_signed)
        images = self.beginning.overlay(images, arguments)
        return StableDiffusionPipelineOutput(images, flagged)

    def run_safety_checker(
        self,
        image: Tensor,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> tuple[Tensor, list[bool] | None]:
        """Blacken what the safety checker objects to.

        The checker may be any function of `images`, these pictures, and `clip_input`, how CLIP sees
        them; it returns pictures and for each whether it was blackened.

        Args:
            image: the pictures, `[batch, channels, height, width]` in [-1, 1].
            device: has no effect: the checker computes where it is.
            dtype: likewise: and in its own dtype.

        Returns:
            The pictures, and for each whether it was blackened; `None` without a checker.
        """
        if self.safety_checker is None:
            return image, None
        checker, features = self.safety_checker, None
        if self.feature_extractor is not None:
            shown = numpy_to_pil(postprocess(image, "np"))
            features = self.feature_extractor(shown, return_tensors="pt").pixel_values
        if features is not None and isinstance(checker, nn.Module):
            features = features.to(checker.device, checker.dtype)
        checked: tuple[Tensor, list[bool] | None] = checker(images=image, clip_input=features)
        return checked

    def _encode(self, texts: list[str], device: torch.device, clip_skip: int | None) -> Tensor:
        return encode_tokens(self.text_encoder, tokenize(self.tokenizer, texts, device), clip_skip)


def _correct_settings(scheduler: Any, settings: Mapping[str, Any]) -> None:
    if scheduler is None:
        return
    for name, right in settings.items():
        value = scheduler.config.get(name, right)
        if value != right and name in scheduler.config.names():
            logger.info("the scheduler's %s=%r is outdated; %r is used.", name, value, right)
            scheduler.register_to_config(**{name: right})
