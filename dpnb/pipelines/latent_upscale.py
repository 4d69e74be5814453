"""Latents that are drawn at twice their height and width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dpnb.devices import upload
from dpnb.errors import ComponentError
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.argument_checks import check_channels, check_width
from dpnb.pipelines.arguments import CountedStepsArguments
from dpnb.pipelines.beginnings import SeesBeside
from dpnb.pipelines.call_order import FORMER_CALLBACK, OUTPUT
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.checked_inputs import EMBEDS, POOLED_EMBEDS
from dpnb.pipelines.denoise import last_entries
from dpnb.pipelines.given_pictures import GivenPictureArguments, WithPicture
from dpnb.pipelines.pictures.images import ImagePipelineOutput
from dpnb.pipelines.pictures.inputs import Pictures, repeat_batch
from dpnb.pipelines.prompts import as_list, check_context, prepend_negative, repeat_each, tokenize
from dpnb.pipelines.protocols import LatentPipeline
from dpnb.pipelines.unet_pipeline import UNetPipeline
from dpnb.schedulers.euler import EulerDiscreteScheduler

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

SMALL = "small_latents"
"""The tensor of a run that holds the latents to enlarge, at their new size."""

FACTOR = 2

NOISE_FEATURES = 64
"""Of each kind that tell how much noise the latents to enlarge have: none."""


@dataclass(frozen=True, kw_only=True)
class LatentUpscaleArguments(GivenPictureArguments, CountedStepsArguments):
    """The arguments of `StableDiffusionLatentUpscalePipeline`; see the bases.

    Args:
        image: the latents to enlarge, as another pipeline returns them with
            `output_type="latent"`, or a picture, which is encoded.
        pooled_prompt_embeds: belongs to `prompt_embeds`, `[batch, channels]`.
        negative_pooled_prompt_embeds: belongs to `negative_prompt_embeds`.
        height: of the picture that is drawn, in pixels: twice the given one's.
        width: likewise.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "image",
        "num_inference_steps",
        "guidance_scale",
        "negative_prompt",
        "generator",
        "latents",
        *EMBEDS,
        *POOLED_EMBEDS,
        *OUTPUT,
        *FORMER_CALLBACK,
    )

    num_inference_steps: int = 75
    guidance_scale: float = 9.0
    pooled_prompt_embeds: Tensor | None = None
    negative_pooled_prompt_embeds: Tensor | None = None

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        for name in ("prompt_embeds", "negative_prompt_embeds"):
            if getattr(self, name) is not None and getattr(self, _pooled(name)) is None:
                raise ValueError(
                    f"{name} is given without its pooled embeddings; give both, from the same text "
                    "encoder."
                )

    @override
    def unit(self, scale: int) -> int:
        """The small latents' sides are whole numbers."""
        return FACTOR * scale


A = TypeVar("A", bound=LatentUpscaleArguments)


@dataclass(frozen=True)
class FromSmallLatents(SeesBeside[A], WithPicture[A]):
    """A run begins with noise, and the network sees small latents, enlarged, beside it."""

    beside: ClassVar[str] = SMALL
    mostly_latents: ClassVar[bool] = True

    @override
    def size_of_latents(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        height, width = super().size_of_latents(pipe, image)
        return FACTOR * height, FACTOR * width

    @override
    def own_size(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        if pipe.holds_latents(image):
            return self.size_of_latents(pipe, image)
        height, width = super().own_size(pipe, image)
        return FACTOR * height, FACTOR * width

    @override
    def prepare_picture(self, pipe: LatentPipeline[A], arguments: A) -> Tensor:
        """At half the size that is drawn."""
        height, width = arguments.size
        return pipe.preprocess(arguments.image, height // FACTOR, width // FACTOR)

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        small = self.encode_image(pipe, arguments, device, like)
        large = F.interpolate(small, scale_factor=FACTOR, mode="nearest")
        beside = repeat_batch(large, arguments.picture_count)
        if pipe.do_classifier_free_guidance:
            beside = torch.cat((beside, beside))
        noise = pipe.sample_noise(arguments, pipe.vae.config.latent_channels, device, like)
        return {"latents": noise * pipe.scheduler.init_noise_sigma, SMALL: beside}


class StableDiffusionLatentUpscalePipeline(
    UNetPipeline[LatentUpscaleArguments, ImagePipelineOutput]
):
    """Latents of Stable Diffusion and words to a picture twice as high and wide (Crowson, 2022).

    The network is conditioned and scaled as in Karras et al. (2022, arXiv:2206.00364, table 1).
    """

    model_cpu_offload_seq = "text_encoder->unet->vae"
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds", SMALL]
    resample: ClassVar[str] = "bicubic"

    tokenizer: Any
    text_encoder: Any

    beginning = FromSmallLatents()
    arguments_class = LatentUpscaleArguments
    check_input_names = checked_inputs.LATENT_UPSCALE

    __call__ = make_call(LatentUpscaleArguments, ImagePipelineOutput)
    stream = make_stream(LatentUpscaleArguments, ImagePipelineOutput)

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: EulerDiscreteScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae, text_encoder=text_encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler
        )

    @property
    @override
    def do_classifier_free_guidance(self) -> bool:
        return self._guidance_scale > 1

    @property
    @override
    def size_unit(self) -> int:
        return max(FACTOR * self.vae_scale_factor, 8)

    @override
    def check_parts(self, arguments: LatentUpscaleArguments) -> None:
        super().check_parts(arguments)
        check_channels(
            "UNet",
            self.network_channels,
            2 * self.vae.config.latent_channels,
            "enlarges latents",
            "the latents and of the small ones beside them",
        )
        if not isinstance(self.scheduler, EulerDiscreteScheduler):
            raise ComponentError(
                "the network is told the noise level of every step, which "
                f"{type(self.scheduler).__name__} does not have; use EulerDiscreteScheduler."
            )

    @override
    def check_widths(self, arguments: LatentUpscaleArguments) -> None:
        super().check_widths(arguments)
        width = (self.unet.config.time_cond_proj_dim or 0) - 2 * NOISE_FEATURES
        for name in ("pooled_prompt_embeds", "negative_pooled_prompt_embeds"):
            check_width(name, getattr(arguments, name), width, "UNet")

    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        device: torch.device | None = None,
        do_classifier_free_guidance: bool = True,
        negative_prompt: str | list[str] | None = None,
        prompt_embeds: Tensor | None = None,
        negative_prompt_embeds: Tensor | None = None,
        pooled_prompt_embeds: Tensor | None = None,
        negative_pooled_prompt_embeds: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """Encode prompts and negative prompts; for the arguments see those of a call.

        Returns:
            Embeddings and negative ones, `[batch, tokens, channels]`, then pooled embeddings and
            negative ones, `[batch, channels]`; the negative ones are `None` without guidance.
        """
        device = device or self._execution_device
        if prompt_embeds is None or pooled_prompt_embeds is None:
            texts = as_list(prompt if prompt is not None else "", 1)
            prompt_embeds, pooled_prompt_embeds = self._encode(texts, device)
        if not do_classifier_free_guidance:
            negative_prompt_embeds = negative_pooled_prompt_embeds = None
        elif negative_prompt_embeds is None or negative_pooled_prompt_embeds is None:
            texts = as_list(negative_prompt or "", len(prompt_embeds))
            negative_prompt_embeds, negative_pooled_prompt_embeds = self._encode(texts, device)
        return (
            prompt_embeds,
            negative_prompt_embeds,
            pooled_prompt_embeds,
            negative_pooled_prompt_embeds,
        )

    @override
    def encode_conditions(
        self, arguments: LatentUpscaleArguments, device: torch.device
    ) -> dict[str, Tensor]:
        # Without any guidance the network was trained without words.
        prompt = [""] * arguments.batch_size if arguments.guidance_scale == 0 else arguments.prompt
        given, negative, pooled, negative_pooled = (
            None
            if embeds is None
            else repeat_each(embeds.to(device, self.unet.dtype), arguments.num_images_per_prompt)
            for embeds in self.encode_prompt(
                prompt,
                device,
                self.do_classifier_free_guidance,
                arguments.negative_prompt,
                arguments.prompt_embeds,
                arguments.negative_prompt_embeds,
                arguments.pooled_prompt_embeds,
                arguments.negative_pooled_prompt_embeds,
            )
        )
        assert given is not None
        assert pooled is not None
        check_context(given, self.unet)
        return {
            "prompt_embeds": prepend_negative(negative, given),
            "pooled_prompt_embeds": prepend_negative(negative_pooled, pooled),
        }

    @override
    def prepare_conditions(
        self, arguments: LatentUpscaleArguments, tensors: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """That the small latents have no noise, and what the prompts are about as a whole."""
        pooled = tensors["pooled_prompt_embeds"]
        ones = torch.ones(len(pooled), NOISE_FEATURES, device=pooled.device, dtype=pooled.dtype)
        return {"timestep_cond": torch.cat((ones, torch.zeros_like(ones), pooled), dim=1)}

    @override
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """The clean latents that it foresees."""
        prediction: Tensor = self.unet(
            self.beginning.join_channels(self, latents, tensors),
            self.scale_timesteps(t, latents),
            encoder_hidden_states=last_entries(tensors["prompt_embeds"], latents),
            timestep_cond=last_entries(tensors["timestep_cond"], latents),
            return_dict=False,
        )[0]
        sigma = self._noise_levels(t)
        # The last channel is a variance, which is not used.
        return (latents + sigma * prediction[:, :-1]) / (sigma**2 + 1) ** 0.5

    @override
    def scale_timesteps(self, timesteps: Tensor, latents: Tensor) -> Tensor:
        """To a quarter of the logarithm of their noise levels."""
        return self._noise_levels(timesteps).log() * 0.25

    def _noise_levels(self, timesteps: Tensor) -> Tensor:
        """The standard deviation of the noise at each of `timesteps`, in their shape."""
        known = self.scheduler.timesteps.to(timesteps.device)
        places = (known == timesteps.reshape(-1, 1)).to(torch.uint8).argmax(dim=1)
        levels: Tensor = upload(self.scheduler.sigmas, timesteps.device)[places]
        return levels.reshape(timesteps.shape)

    @override
    def make_output(
        self, latents: Tensor, arguments: LatentUpscaleArguments
    ) -> ImagePipelineOutput:
        if arguments.output_type == "latent":
            return ImagePipelineOutput(latents)
        pictures = self.decode_finite_pictures(latents)
        return ImagePipelineOutput(self.postprocess(pictures, arguments.output_type))

    def _encode(self, texts: list[str], device: torch.device) -> tuple[Tensor, Tensor]:
        ids = tokenize(self.tokenizer, texts, device)
        output = self.text_encoder(ids, output_hidden_states=True)
        return output.hidden_states[-1], output.pooler_output


def _pooled(name: str) -> str:
    """The argument that belongs to embeddings."""
    return name.replace("prompt_embeds", "pooled_prompt_embeds")
