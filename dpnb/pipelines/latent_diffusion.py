"""Latent diffusion, before it was Stable Diffusion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.models.autoencoder import Autoencoder
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import last_entries
from dpnb.pipelines.pictures.images import ImagePipelineOutput
from dpnb.pipelines.prompts import as_list, prepend_negative, repeat_each, tokenize
from dpnb.pipelines.unet_pipeline import UNetPipeline
from dpnb.schedulers.scheduler import Scheduler
from dpnb.stages import Step

__path__: list[str] = []
"""Scripts know files below this one, which are found by `dpnb.module_paths`."""

if TYPE_CHECKING:
    from transformers import BertTokenizer

    from dpnb.models.ldm_bert import LDMBertModel


@dataclass(frozen=True, kw_only=True)
class LatentDiffusionArguments(Arguments):
    """The arguments of `LDMTextToImagePipeline`."""

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "height",
        "width",
        "num_inference_steps",
        "guidance_scale",
        "eta",
        "generator",
        "latents",
        "output_type",
        "return_dict",
    )

    guidance_scale: float = 1.0


class LDMTextToImagePipeline(UNetPipeline[LatentDiffusionArguments, ImagePipelineOutput]):
    """Text to pictures with latent diffusion (Rombach et al. 2022, arXiv:2112.10752).

    Guidance is off at a scale of 1, and on at any other. Height and width are those of the
    pictures, whatever the scale of the autoencoder.
    """

    model_cpu_offload_seq = "bert->unet->vqvae"
    _callback_tensor_inputs: ClassVar[list[str]] = [
        "latents",
        "prompt_embeds",
        "negative_prompt_embeds",
    ]

    vqvae: Autoencoder
    bert: Any
    tokenizer: Any

    def __init__(
        self,
        vqvae: Autoencoder,
        bert: LDMBertModel,
        tokenizer: BertTokenizer,
        unet: UNet2DConditionModel,
        scheduler: Scheduler,
    ) -> None:
        super().__init__()
        self.register_modules(
            vqvae=vqvae, bert=bert, tokenizer=tokenizer, unet=unet, scheduler=scheduler
        )

    @property
    @override
    def vae(self) -> Any:  # type: ignore[override]
        """The autoencoder, which is called `vqvae` here."""
        return self.vqvae

    @property
    @override
    def do_classifier_free_guidance(self) -> bool:
        return self._guidance_scale != 1.0

    arguments_class = LatentDiffusionArguments

    __call__ = make_call(LatentDiffusionArguments, ImagePipelineOutput)
    stream = make_stream(LatentDiffusionArguments, ImagePipelineOutput)

    @override
    def start(
        self, arguments: LatentDiffusionArguments
    ) -> Iterator[Step[ImagePipelineOutput | None]]:
        """Refuse what its text encoder cannot do.

        Raises:
            ValueError: layers of the text encoder are to be left out.
        """
        if arguments.clip_skip is not None:
            raise ValueError("clip_skip is for CLIP, and this text encoder is none; leave it out.")
        return super().start(arguments)

    @override
    def encode_conditions(
        self, arguments: LatentDiffusionArguments, device: torch.device
    ) -> dict[str, Tensor]:
        given, negative = arguments.prompt_embeds, None
        if given is None:
            given = self._encode(as_list(arguments.prompt or "", 1), device)
        if self.do_classifier_free_guidance:
            negative = arguments.negative_prompt_embeds
            if negative is None:
                texts = as_list(arguments.negative_prompt or "", arguments.batch_size)
                negative = self._encode(texts, device)
        given, negative = (
            None
            if embeds is None
            else repeat_each(embeds.to(device, self.unet.dtype), arguments.num_images_per_prompt)
            for embeds in (given, negative)
        )
        assert given is not None
        tensors = {"prompt_embeds": prepend_negative(negative, given)}
        return tensors if negative is None else {**tensors, "negative_prompt_embeds": negative}

    @override
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        context = last_entries(tensors["prompt_embeds"], latents)
        prediction: Tensor = self.unet(latents, t, encoder_hidden_states=context)[0]
        return prediction

    @override
    def make_output(
        self, latents: Tensor, arguments: LatentDiffusionArguments
    ) -> ImagePipelineOutput:
        if arguments.output_type == "latent":
            return ImagePipelineOutput(latents)
        pictures = self.decode_finite_pictures(latents)
        return ImagePipelineOutput(self.postprocess(pictures, arguments.output_type))

    def _encode(self, texts: list[str], device: torch.device) -> Tensor:
        length = min(self.tokenizer.model_max_length, self.bert.config.max_position_embeddings)
        states: Tensor = self.bert(tokenize(self.tokenizer, texts, device, length))[0]
        return states
