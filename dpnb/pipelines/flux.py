"""FLUX.1, schnell and dev."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import numpy as np
import torch
from torch import Tensor
from typing_extensions import TypeVar, override

from dpnb.errors import ComponentError
from dpnb.generators import randn
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.flux import FluxTransformer2DModel
from dpnb.module_paths import find_elsewhere
from dpnb.nn.rotary import rotary_table
from dpnb.output import Output
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.argument_checks import check_channels, check_width
from dpnb.pipelines.beginnings import SeesBeside
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.flux_arguments import FluxArguments
from dpnb.pipelines.flux_guidance import NegativePromptGuidance
from dpnb.pipelines.flux_loop_parts import FluxLoopParts
from dpnb.pipelines.flux_patches import pack, positions, unpack
from dpnb.pipelines.own_parts import LATENTS, begin_by_own, is_replaced
from dpnb.pipelines.prompts import as_list, prepend_negative, repeat_each, tokenize
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.schedulers.flow_match import FlowMatchEulerDiscreteScheduler
from dpnb.stages import Step

__path__: list[str] = []
"""Scripts know files below this one, which are found by `dpnb.module_paths`."""

if TYPE_CHECKING:
    from transformers import (
        CLIPImageProcessor,
        CLIPTextModel,
        CLIPTokenizer,
        CLIPVisionModelWithProjection,
        T5EncoderModel,
        T5Tokenizer,
    )

TIMESTEPS = 1000
"""The timestep of pure noise."""

TEXT_PARTS = ("tokenizer", "text_encoder", "tokenizer_2", "text_encoder_2")


def __getattr__(name: str) -> Any:
    return find_elsewhere(__name__, name)


@dataclass(eq=False)
class FluxPipelineOutput(Output):
    """What a run returns: a list of pictures, an array or a tensor, as `output_type` asked."""

    images: Any


A = TypeVar("A", bound=FluxArguments, default=Any)


class FluxPipeline(FluxLoopParts, TextToImagePipeline[A, FluxPipelineOutput], Generic[A]):
    """Text to pictures with FLUX.1 (Black Forest Labs, 2024).

    Latents that are given, returned, or seen by a callback are packed, a token for each patch of
    two by two: `[batch, tokens, channels]`. Those of a `Step` are feature maps, as everywhere.
    """

    model_cpu_offload_seq = "text_encoder->text_encoder_2->image_encoder->transformer->vae"
    _optional_components: ClassVar[list[str]] = ["image_encoder", "feature_extractor"]
    may_be_absent: ClassVar[tuple[str, ...]] = TEXT_PARTS
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents", "prompt_embeds"]
    may_upcast_vae: ClassVar[bool] = True

    guidance = NegativePromptGuidance()

    transformer: FluxTransformer2DModel
    tokenizer: Any
    tokenizer_2: Any
    text_encoder: Any
    text_encoder_2: Any
    image_encoder: Any
    feature_extractor: Any

    def __init__(
        self,
        scheduler: FlowMatchEulerDiscreteScheduler,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel | None,
        tokenizer: CLIPTokenizer | None,
        text_encoder_2: T5EncoderModel | None,
        tokenizer_2: T5Tokenizer | None,
        transformer: FluxTransformer2DModel,
        image_encoder: CLIPVisionModelWithProjection | None = None,
        feature_extractor: CLIPImageProcessor | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            text_encoder=text_encoder,
            text_encoder_2=text_encoder_2,
            tokenizer=tokenizer,
            tokenizer_2=tokenizer_2,
            transformer=transformer,
            scheduler=scheduler,
            image_encoder=image_encoder,
            feature_extractor=feature_extractor,
        )
        self._true_cfg_scale = 1.0

    @property
    @override
    def _pixels_per_entry(self) -> int:
        return 2 * self.vae_scale_factor

    @property
    @override
    def size_unit(self) -> int:
        return self._pixels_per_entry

    @override
    def resolve_size(self, arguments: A) -> A:
        """A size that tokens do not fill is made smaller; for the rest see `Beginning.resolve`."""
        return super().resolve_size(arguments.fit_size(self.vae_scale_factor))

    @property
    def true_cfg_scale(self) -> float:
        """How strongly the present or last run is steered away from its negative prompt.

        The guidance scale is an input of the network, so that classifier-free guidance is always
        off.
        """
        return self._true_cfg_scale

    arguments_class = FluxArguments
    check_input_names = checked_inputs.FLUX_WORDS

    __call__ = make_call(FluxArguments, FluxPipelineOutput)
    stream = make_stream(FluxArguments, FluxPipelineOutput)

    denoisers: ClassVar[tuple[str, ...]] = ("transformer",)
    _lora_loadable_modules: ClassVar[list[str]] = ["transformer", "text_encoder"]
    lora_state_has_alphas: ClassVar[bool] = False

    @property
    @override
    def network_channels(self) -> int:
        return self.transformer.config.in_channels // 4

    @property
    def drawn_channels(self) -> int:
        """Channels of the latents that are drawn; the network may see others beside them."""
        config = self.transformer.config
        return (config.out_channels or config.in_channels) // 4

    @override
    def check_widths(self, arguments: A) -> None:
        config = self.transformer.config
        for name, width in (
            ("prompt_embeds", config.joint_attention_dim),
            ("negative_prompt_embeds", config.joint_attention_dim),
            ("pooled_prompt_embeds", config.pooled_projection_dim),
            ("negative_pooled_prompt_embeds", config.pooled_projection_dim),
        ):
            check_width(name, getattr(arguments, name), width, "transformer")

    @override
    def check_parts(self, arguments: A) -> None:
        super().check_parts(arguments)
        missing = [name for name in TEXT_PARTS if getattr(self, name) is None]
        if arguments.needs_encoders and missing:
            raise ComponentError(
                f"there is no {' and no '.join(missing)} to encode a prompt with; give "
                "prompt_embeds and pooled_prompt_embeds, or a pipeline with its text encoders."
            )
        if not isinstance(self.beginning, SeesBeside):
            check_channels(
                "transformer",
                self.network_channels,
                self.drawn_channels,
                "sees the latents alone",
                "these: use the pipeline that it was made for, such as FluxControlPipeline",
            )
        if not isinstance(self.scheduler, FlowMatchEulerDiscreteScheduler):
            raise ComponentError(
                f"FLUX follows a flow, and {type(self.scheduler).__name__} does not; use "
                "FlowMatchEulerDiscreteScheduler."
            )

    @override
    def _begin(self, arguments: A) -> None:
        super()._begin(arguments)
        self._true_cfg_scale = arguments.true_cfg_scale

    def encode_prompt(
        self,
        prompt: str | list[str] | None,
        prompt_2: str | list[str] | None = None,
        device: torch.device | None = None,
        num_images_per_prompt: int = 1,
        prompt_embeds: Tensor | None = None,
        pooled_prompt_embeds: Tensor | None = None,
        max_sequence_length: int = 512,
        lora_scale: float | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Encode prompts: by T5, token for token, and by CLIP, as one vector.

        `lora_scale` is that of low-rank weights in this call alone.

        Returns:
            Embeddings `[pictures, tokens, channels]`, pooled embeddings `[pictures, channels]`, and
            the positions of the tokens, `[tokens, 3]`.
        """
        device = device or self._execution_device
        given, pooled = prompt_embeds, pooled_prompt_embeds
        if given is None or pooled is None:
            texts = as_list(prompt if prompt is not None else "", 1)
            with self.scale_lora(lora_scale):
                ids = tokenize(self.tokenizer, texts, device)
                pooled = self.text_encoder(ids).pooler_output.to(self.text_encoder.dtype)
                texts = as_list(prompt_2 or texts, len(texts))
                ids = tokenize(self.tokenizer_2, texts, device, max_sequence_length)
                given = self.text_encoder_2(ids)[0].to(self.text_encoder_2.dtype)
        text_ids = torch.zeros(given.shape[1], 3, device=device, dtype=given.dtype)
        prompt_embeds, pooled_prompt_embeds = (
            repeat_each(embeds.to(device), num_images_per_prompt) for embeds in (given, pooled)
        )
        return prompt_embeds, pooled_prompt_embeds, text_ids

    @override
    def encode_conditions(self, arguments: A, device: torch.device) -> dict[str, Tensor]:
        """What the prediction is conditioned on; the pooled negative prompts come first."""
        count, most = arguments.num_images_per_prompt, arguments.max_sequence_length
        dtype = self.transformer.dtype
        given, pooled, _ = self.encode_prompt(
            arguments.prompt,
            arguments.prompt_2,
            device,
            count,
            arguments.prompt_embeds,
            arguments.pooled_prompt_embeds,
            most,
        )
        tensors = {"prompt_embeds": given.to(dtype)}
        negative_pooled = None
        if arguments.is_truly_guided:
            texts = as_list(arguments.negative_prompt or "", arguments.batch_size)
            negative, negative_pooled, _ = self.encode_prompt(
                texts,
                arguments.negative_prompt_2,
                device,
                count,
                arguments.negative_prompt_embeds,
                arguments.negative_pooled_prompt_embeds,
                most,
            )
            tensors["negative_prompt_embeds"] = negative.to(dtype)
        tensors["pooled_prompt_embeds"] = prepend_negative(negative_pooled, pooled).to(dtype)
        return tensors

    @override
    def prepare_conditions(self, arguments: A, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The position of every token; and the guidance scale, where the network takes one."""
        device, config = tensors["latents"].device, self.transformer.config
        places = self.find_positions(arguments, tensors)
        conditions = {"rotary": rotary_table(places, config.axes_dims_rope)}
        if config.guidance_embeds:
            conditions["guidance"] = torch.full((1,), arguments.guidance_scale, device=device)
        return conditions

    def find_positions(self, arguments: A, tensors: dict[str, Tensor]) -> Tensor:
        """Where every token is, `[tokens, 3]`; see `flux_patches.positions`."""
        device, length = tensors["latents"].device, tensors["prompt_embeds"].shape[1]
        return positions(length, *self._latent_size(arguments), device)

    @override
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        tokens, embeds = self.make_tokens(latents, tensors), tensors["prompt_embeds"]
        flow: Tensor = self.transformer(
            hidden_states=tokens,
            encoder_hidden_states=embeds,
            pooled_projections=tensors["pooled_prompt_embeds"],
            timestep=self.scale_timesteps(t, tokens),
            guidance=tensors.get("guidance"),
            rotary=_fit_rotary_table(tensors["rotary"], embeds.shape[1], tokens.shape[1]),
            return_dict=False,
        )[0]
        height, width = latents.shape[-2:]
        return unpack(flow[:, : height * width // 4], height, width)

    def make_tokens(self, latents: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        """What the network sees of `latents` `[batch, channels, h, w]` and of what is beside them.

        Returns:
            `[batch, tokens, channels]`, those of the latents first.
        """
        return pack(self.beginning.join_channels(self, latents, tensors))

    @override
    def prepare_timesteps(self, arguments: A, device: torch.device) -> tuple[Tensor, int]:
        """Noise levels fall evenly, unless they are given."""
        count, sigmas = arguments.num_inference_steps, arguments.sigmas
        if sigmas is None:
            sigmas = np.linspace(1.0, 1 / count, count).tolist()
        height, width = self._latent_size(arguments)
        tokens = (height // 2) * (width // 2)
        mu = self.scheduler.config.mu_for(tokens)
        self.scheduler.set_timesteps(sigmas=sigmas, device=device, mu=mu)
        return self.scheduler.timesteps, len(sigmas)

    @override
    def scale_timesteps(self, timesteps: Tensor, latents: Tensor) -> Tensor:
        """To noise levels between 0 and 1."""
        return timesteps.to(latents.device, latents.dtype) / TIMESTEPS

    @override
    def default_size(self) -> tuple[int, int]:
        """Height and width that the autoencoder was made for, in pixels."""
        vae, is_set = self._autoencoder, "default_sample_size" in vars(self)
        if is_set or vae is None or "sample_size" not in vae.config.given_settings:
            side = self.default_sample_size * self.vae_scale_factor
            return side, side
        size = vae.config.sample_size
        return (size[0], size[1]) if isinstance(size, tuple) else (size, size)

    @override
    def begin_latents(self, arguments: A, device: torch.device, like: Tensor) -> Tensor:
        """Given ones may be packed."""
        height, width = self._latent_size(arguments)
        channels = self.drawn_channels
        if is_replaced(self, LATENTS):
            tokens, _ = begin_by_own(self, arguments, channels, device, like)
            return unpack(tokens, height, width)
        shape = (arguments.picture_count, channels, height, width)
        given = arguments.latents
        if given is None:
            return randn(shape, generator=arguments.generator, device=device, dtype=like.dtype)
        packed = (shape[0], height * width // 4, channels * 4)
        if tuple(given.shape) not in (shape, packed):
            raise ValueError(
                f"latents has shape {tuple(given.shape)}; for {shape[0]} pictures of "
                f"{arguments.width} x {arguments.height} it must be {packed}, or {shape}."
            )
        latents: Tensor = given.to(device, like.dtype)
        return unpack(latents, height, width) if given.ndim == 3 else latents

    @override
    def call_back(self, arguments: A, step: Step[Any], tensors: dict[str, Tensor]) -> Tensor:
        """They see packed latents."""
        if arguments.callback_on_step_end is not None:
            tensors["latents"] = pack(tensors["latents"])
            packed = super().call_back(arguments, step, tensors)
            tensors["latents"] = unpack(packed, *self._latent_size(arguments))
        return tensors["latents"]

    @override
    def make_output(self, latents: Tensor, arguments: A) -> FluxPipelineOutput:
        """Latents as output are packed."""
        if arguments.output_type == "latent":
            return FluxPipelineOutput(pack(latents))
        pictures = self.decode_finite_pictures(latents)
        images = self.postprocess(pictures, arguments.output_type)
        return FluxPipelineOutput(self.beginning.overlay(images, arguments))

    def _latent_size(self, arguments: A) -> tuple[int, int]:
        scale = self.vae_scale_factor
        return arguments.size[0] // scale, arguments.size[1] // scale


def _fit_rotary_table(rotary: Tensor, text_tokens: int, tokens: int) -> Tensor:
    """The table of positions for so many text tokens, all of which are at the origin."""
    if len(rotary) == text_tokens + tokens:
        return rotary
    return torch.cat((rotary[:1].expand(text_tokens, -1, -1), rotary[-tokens:]))
