"""Stable Diffusion XL."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import TypeVar, override

from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.module_paths import find_elsewhere
from dpnb.output import Output
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.arguments import Arguments, Prompt
from dpnb.pipelines.call_order import XL_GIVEN
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import last_entries, timestep_at
from dpnb.pipelines.prompts import (
    as_list,
    check_context,
    prepend_negative,
    repeat_each,
    select_hidden_states,
    tokenize,
)
from dpnb.pipelines.unet_pipeline import UNetPipeline
from dpnb.pipelines.xl_loop_parts import XLLoopParts
from dpnb.schedulers.scheduler import Scheduler

__path__: list[str] = []
"""Scripts know files below this one, which are found by `dpnb.module_paths`."""

if TYPE_CHECKING:
    from transformers import (
        CLIPImageProcessor,
        CLIPTextModel,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        CLIPVisionModelWithProjection,
    )

logger = logging.getLogger(__name__)


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)


@dataclass(eq=False)
class StableDiffusionXLPipelineOutput(Output):
    """What a run returns: a list of pictures, an array or a tensor, as `output_type` asked."""

    images: Any


@dataclass(frozen=True, kw_only=True)
class StableDiffusionXLArguments(Arguments):
    """The arguments of Stable Diffusion XL, beside those of every pipeline.

    Args:
        prompt_2: for the second text encoder; `prompt` by default.
        negative_prompt_2: likewise.
        denoising_end: the share of the schedule after which to stop, between 0 and 1, for another
            model to go on.
        pooled_prompt_embeds: belongs to `prompt_embeds`, `[batch, channels]`.
        negative_pooled_prompt_embeds: belongs to `negative_prompt_embeds`.
        original_size: height and width that the picture is to look as if it had been scaled from.
        crops_coords_top_left: as if this much had been cropped, above and at the left.
        target_size: height and width that it is to look made for.
        negative_original_size: these three for the negative prompt.
        negative_crops_coords_top_left: see `crops_coords_top_left`.
        negative_target_size: see `target_size`.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "prompt_2",
        "height",
        "width",
        "num_inference_steps",
        "timesteps",
        "sigmas",
        "denoising_end",
        "guidance_scale",
        "negative_prompt",
        "negative_prompt_2",
        *XL_GIVEN,
    )

    guidance_scale: float = 5.0
    prompt_2: Prompt = None
    negative_prompt_2: Prompt = None
    denoising_end: float | None = None
    pooled_prompt_embeds: Tensor | None = None
    negative_pooled_prompt_embeds: Tensor | None = None
    original_size: tuple[int, int] | None = None
    crops_coords_top_left: tuple[int, int] = (0, 0)
    target_size: tuple[int, int] | None = None
    negative_original_size: tuple[int, int] | None = None
    negative_crops_coords_top_left: tuple[int, int] = (0, 0)
    negative_target_size: tuple[int, int] | None = None

    @override
    def prompt_pairs(self) -> tuple[tuple[str, Prompt, Tensor | None], ...]:
        return (
            *super().prompt_pairs(),
            ("prompt_2", self.prompt_2, self.prompt_embeds),
            ("negative_prompt_2", self.negative_prompt_2, self.negative_prompt_embeds),
        )

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        for name, pooled in (
            ("prompt_embeds", self.pooled_prompt_embeds),
            ("negative_prompt_embeds", self.negative_pooled_prompt_embeds),
        ):
            if getattr(self, name) is not None and pooled is None:
                raise ValueError(
                    f"{name} is given without its pooled embeddings; give both, from the same text "
                    "encoder."
                )
        if self.denoising_end is not None and not 0 < self.denoising_end <= 1:
            raise ValueError(
                f"denoising_end is {self.denoising_end}; it is a share of the schedule, above 0 "
                "and at most 1."
            )

    def time_ids(self, *, negative: bool) -> tuple[int, ...]:
        """The six numbers that condition on size and crop."""
        if negative and self.negative_original_size and self.negative_target_size:
            crop = self.negative_crops_coords_top_left
            return (*self.negative_original_size, *crop, *self.negative_target_size)
        original, target = self.original_size or self.size, self.target_size or self.size
        return (*original, *self.crops_coords_top_left, *target)


A = TypeVar("A", bound=StableDiffusionXLArguments, default=Any)


class StableDiffusionXLPipeline(XLLoopParts, UNetPipeline[A, StableDiffusionXLPipelineOutput]):
    """Text to pictures with Stable Diffusion XL (Podell et al. 2023, arXiv:2307.01952)."""

    model_cpu_offload_seq = "text_encoder->text_encoder_2->image_encoder->unet->vae"
    _optional_components: ClassVar[list[str]] = [
        "tokenizer",
        "tokenizer_2",
        "text_encoder",
        "text_encoder_2",
        "image_encoder",
        "feature_extractor",
    ]
    _lora_loadable_modules: ClassVar[list[str]] = ["unet", "text_encoder", "text_encoder_2"]
    may_upcast_vae: ClassVar[bool] = True
    _callback_tensor_inputs: ClassVar[list[str]] = [
        "latents",
        "prompt_embeds",
        "add_text_embeds",
        "add_time_ids",
    ]

    tokenizer: Any
    tokenizer_2: Any
    text_encoder: Any
    text_encoder_2: Any
    image_encoder: Any
    feature_extractor: Any

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
        force_zeros_for_empty_prompt: bool = True,
        add_watermarker: bool | None = None,
    ) -> None:
        super().__init__()
        if add_watermarker:
            raise ValueError(
                "add_watermarker=True asks for an invisible watermark, which dpnb does not draw; "
                "leave it out and mark the pictures afterwards."
            )
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            text_encoder_2=text_encoder_2,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer_2,
            unet=unet,
            scheduler=scheduler,
            image_encoder=image_encoder,
            feature_extractor=feature_extractor,
        )
        self.register_to_config(force_zeros_for_empty_prompt=force_zeros_for_empty_prompt)

    arguments_class = StableDiffusionXLArguments
    check_input_names = checked_inputs.XL_WORDS

    __call__ = make_call(StableDiffusionXLArguments, StableDiffusionXLPipelineOutput)
    stream = make_stream(StableDiffusionXLArguments, StableDiffusionXLPipelineOutput)

    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        prompt_2: str | list[str] | None = None,
        device: torch.device | None = None,
        num_images_per_prompt: int = 1,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | list[str] | None = None,
        negative_prompt_2: str | list[str] | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        pooled_prompt_embeds: Tensor | None = None,
        negative_pooled_prompt_embeds: Tensor | None = None,
        lora_scale: float | None = None,
        clip_skip: int | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """Encode prompts and negative prompts by both text encoders.

        `lora_scale` is that of low-rank weights in this call alone; for the other arguments see
        those of a call.

        Returns:
            Embeddings and negative ones, `[pictures, tokens, channels]`, then pooled embeddings
            and negative ones, `[pictures, channels]`; the negative ones are `None` without
            guidance.
        """
        device = device or self._execution_device
        given, pooled = prompt_embeds, pooled_prompt_embeds
        if given is None:
            texts = as_list(prompt if prompt is not None else "", 1)
            with self.scale_lora(lora_scale):
                given, own = self._encode(texts, prompt_2 or texts, device, clip_skip)
            pooled = own if pooled is None else pooled
        negative, negative_pooled = negative_prompt_embeds, negative_pooled_prompt_embeds
        if do_classifier_free_guidance and negative is None:
            if negative_prompt is None and self._settings["force_zeros_for_empty_prompt"]:
                negative = torch.zeros_like(given)
                negative_pooled = None if pooled is None else torch.zeros_like(pooled)
            else:
                texts = as_list(negative_prompt or "", len(given))
                with self.scale_lora(lora_scale):
                    negative, own = self._encode(texts, negative_prompt_2 or texts, device, None)
                negative_pooled = own if negative_pooled is None else negative_pooled
        if not do_classifier_free_guidance:
            negative = negative_pooled = None
        if pooled is None:
            raise ValueError("no text encoder pools its embeddings; give pooled_prompt_embeds.")
        count, dtype = num_images_per_prompt, self.prompt_dtype(given)
        prompt_embeds = repeat_each(given.to(device, dtype), count)
        pooled_prompt_embeds = repeat_each(pooled.to(device, dtype), count)
        negative_prompt_embeds, negative_pooled_prompt_embeds = (
            None if embeds is None else repeat_each(embeds.to(device, dtype), count)
            for embeds in (negative, negative_pooled)
        )
        return (
            prompt_embeds,
            negative_prompt_embeds,
            pooled_prompt_embeds,
            negative_pooled_prompt_embeds,
        )

    @override
    def encode_conditions(self, arguments: A, device: torch.device) -> dict[str, Tensor]:
        given, negative, pooled, negative_pooled = self.encode_prompt(
            arguments.prompt,
            arguments.prompt_2,
            device,
            arguments.num_images_per_prompt,
            self.do_classifier_free_guidance,
            arguments.negative_prompt,
            arguments.negative_prompt_2,
            arguments.prompt_embeds,
            arguments.negative_prompt_embeds,
            arguments.pooled_prompt_embeds,
            arguments.negative_pooled_prompt_embeds,
            clip_skip=self.clip_skip,
        )
        check_context(given, self.unet)
        time_ids = self.time_ids(arguments, given)
        self._check_added(pooled.shape[-1], time_ids.shape[-1])
        return {
            "prompt_embeds": prepend_negative(negative, given),
            "add_text_embeds": prepend_negative(negative_pooled, pooled),
            "add_time_ids": time_ids,
        }

    def time_ids(self, arguments: A, like: Tensor) -> Tensor:
        """The numbers that condition on size and crop, with guidance of both kinds.

        Both in turn for each picture: the order in which diffusers lays them out.

        Args:
            arguments: of the run.
            like: any tensor of its dtype and device.

        Returns:
            `[entries, 6]`.
        """
        kinds = (True, False) if self.do_classifier_free_guidance else (False,)
        ids = [arguments.time_ids(negative=kind) for kind in kinds]
        both = torch.tensor(ids, dtype=like.dtype, device=like.device)
        return both.repeat(arguments.picture_count, 1)

    @override
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        prediction: Tensor = self.unet(
            self.beginning.join_channels(self, latents, tensors),
            t,
            encoder_hidden_states=last_entries(tensors["prompt_embeds"], latents),
            timestep_cond=tensors.get("timestep_cond"),
            added_cond_kwargs={
                "text_embeds": last_entries(tensors["add_text_embeds"], latents),
                "time_ids": last_entries(tensors["add_time_ids"], latents),
            },
            return_dict=False,
        )[0]
        return prediction

    @override
    def default_size(self) -> tuple[int, int]:
        """As of every UNet, unless `default_sample_size` was set."""
        if self._default_sample_size is None:
            return super().default_size()
        side = self._default_sample_size * self.vae_scale_factor
        return side, side

    @override
    def find_stop_index(self, timesteps: Tensor, arguments: A) -> int:
        """Before what lies beyond `denoising_end`."""
        if arguments.denoising_end is None or arguments.denoising_end >= 1:
            return len(timesteps)
        return int((timesteps >= self.cutoff(arguments.denoising_end)).sum())

    def cutoff(self, share: float) -> int:
        """The timestep at which `share` of the schedule is done."""
        return timestep_at(self.scheduler, share)

    @override
    def make_output(self, latents: Tensor, arguments: A) -> StableDiffusionXLPipelineOutput:
        if arguments.output_type == "latent":
            return StableDiffusionXLPipelineOutput(latents)
        pictures = self.decode_finite_pictures(latents)
        if self.watermark is not None:
            pictures = self.watermark.apply_watermark(pictures)
        images = self.postprocess(pictures, arguments.output_type)
        return StableDiffusionXLPipelineOutput(self.beginning.overlay(images, arguments))

    def _encode(
        self, texts: list[str], texts_2: str | list[str], device: torch.device, skip: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """Embeddings of all text encoders side by side, and the last one's pooled ones."""
        encoders = [
            (tokenizer, encoder)
            for tokenizer, encoder in (
                (self.tokenizer, self.text_encoder),
                (self.tokenizer_2, self.text_encoder_2),
            )
            if tokenizer is not None and encoder is not None
        ]
        embeds, pooled = [], None
        both = (texts, as_list(texts_2, len(texts)))
        if len(encoders) == 1 and both[0] != both[1]:
            logger.warning(
                "prompt_2 and negative_prompt_2 are for a second text encoder, and the one of this "
                "pipeline reads prompt and negative_prompt; give the text there."
            )
        for (tokenizer, encoder), prompts in zip(encoders, both, strict=False):
            output = encoder(tokenize(tokenizer, prompts, device), output_hidden_states=True)
            embeds.append(select_hidden_states(output, (skip or 0) + 2))
            pooled = output[0] if output[0].ndim == 2 else pooled
        return torch.cat(embeds, dim=-1), pooled
