"""Pictures without words: of whatever a network has learnt to draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import torch
from torch import Tensor
from typing_extensions import TypeVar, override

from dpnb.errors import ComponentError
from dpnb.generators import Generators
from dpnb.models.unet_2d import UNet2DModel
from dpnb.models.vq import VQModel
from dpnb.numbers import parse_int
from dpnb.pipelines.argument_checks import check_tensors
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import set_timesteps
from dpnb.pipelines.pictures.images import ImagePipelineOutput, postprocess
from dpnb.pipelines.text_to_image import TextToImagePipeline
from dpnb.schedulers.ddim import DDIMScheduler
from dpnb.schedulers.pndm import PNDMScheduler
from dpnb.schedulers.scheduler import Scheduler

if TYPE_CHECKING:
    from PIL.Image import Image

WORDS = frozenset(
    {
        "prompt",
        "negative_prompt",
        "prompt_embeds",
        "negative_prompt_embeds",
        "num_images_per_prompt",
        "guidance_scale",
        "guidance_rescale",
        "clip_skip",
        "cross_attention_kwargs",
        "timesteps",
        "sigmas",
        "callback",
        "callback_steps",
    }
)
"""The arguments of pipelines that draw from words."""


@dataclass(frozen=True, kw_only=True)
class UnconditionalArguments(Arguments):
    """The arguments of pipelines that draw without words.

    Args:
        batch_size: how many pictures.
        latents: the noise itself, `[batch_size, channels, height, width]`.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "batch_size",
        "generator",
        "num_inference_steps",
        "output_type",
        "return_dict",
    )
    absent: ClassVar[frozenset[str]] = WORDS | {"eta"}
    refused: ClassVar[dict[str, str]] = {}

    batch_size: int = 1

    @override
    def unit(self, scale: int) -> int:
        """A picture comes in any size."""
        return scale

    @override
    def _check_prompts(self) -> None:
        """There are none."""
        parse_int("batch_size", self.batch_size, least=1)
        check_tensors(vars(self))


@dataclass(frozen=True, kw_only=True)
class DDPMArguments(UnconditionalArguments):
    """The arguments of `DDPMPipeline`; see the base."""

    num_inference_steps: int = 1000


@dataclass(frozen=True, kw_only=True)
class PNDMArguments(UnconditionalArguments):
    """The arguments of `PNDMPipeline`; see the base."""

    positional: ClassVar[tuple[str, ...]] = (
        "batch_size",
        "num_inference_steps",
        "generator",
        "output_type",
        "return_dict",
    )


@dataclass(frozen=True, kw_only=True)
class LDMArguments(UnconditionalArguments):
    """The arguments of `LDMPipeline`; see the base."""

    positional: ClassVar[tuple[str, ...]] = (
        "batch_size",
        "generator",
        "eta",
        "num_inference_steps",
        "output_type",
        "return_dict",
    )
    absent: ClassVar[frozenset[str]] = WORDS


@dataclass(frozen=True, kw_only=True)
class DDIMArguments(LDMArguments):
    """The arguments of `DDIMPipeline`; see the bases.

    Args:
        use_clipped_model_output: derive the noise from the clipped prediction of the picture.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "batch_size",
        "generator",
        "eta",
        "num_inference_steps",
        "use_clipped_model_output",
        "output_type",
        "return_dict",
    )

    use_clipped_model_output: bool | None = None

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        if not 0 <= self.eta <= 1:
            raise ValueError(
                f"eta is {self.eta}; it is between 0, which draws no noise on the way, and 1."
            )


A = TypeVar("A", bound=UnconditionalArguments, default=Any)


class UnconditionalPipeline(TextToImagePipeline[A, ImagePipelineOutput], Generic[A]):
    """Noise to pictures.

    A subclass says what its arguments are, and where its network draws: in pixels, or in latents.
    """

    model_cpu_offload_seq = "unet"
    _callback_tensor_inputs: ClassVar[list[str]] = ["latents"]
    scale_without_vae: ClassVar[int] = 1

    unet: UNet2DModel

    @property
    @override
    def vae(self) -> Any:  # type: ignore[override]
        """The autoencoder, which is called `vqvae` here; `None` where pixels are drawn."""
        return vars(self).get("vqvae")

    @override
    def check_parts(self, arguments: A) -> None:
        if self.unet is None:
            raise ComponentError("there is no unet to draw with; give one.")

    @override
    def check_widths(self, arguments: A) -> None:
        """There are no embeddings."""

    @override
    def encode_conditions(self, arguments: A, device: torch.device) -> dict[str, Tensor]:
        """There are none."""
        return {}

    @override
    def prepare_conditions(self, arguments: A, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """There are none."""
        return {}

    @property
    @override
    def network_channels(self) -> int:
        return self.unet.config.in_channels

    @override
    def default_size(self) -> tuple[int, int]:
        """Height and width that the network was made for, in pixels."""
        size = self.unet.config.sample_size or 32
        height, width = size if isinstance(size, tuple) else (size, size)
        return height * self.vae_scale_factor, width * self.vae_scale_factor

    @override
    def prepare_timesteps(self, arguments: A, device: torch.device) -> tuple[Tensor, int]:
        return set_timesteps(self.scheduler, arguments.num_inference_steps, device, None, None)

    @override
    def begin_latents(self, arguments: A, device: torch.device, like: Tensor) -> Tensor:
        noise = self.sample_noise(arguments, self.network_channels, device, like)
        return noise * float(self.scheduler.init_noise_sigma)

    @override
    def predict_noise(self, latents: Tensor, t: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        prediction: Tensor = self.unet(latents, t)[0]
        return prediction

    @override
    def make_output(self, latents: Tensor, arguments: A) -> ImagePipelineOutput:
        if arguments.output_type == "latent":
            return ImagePipelineOutput(latents)
        pictures = latents if self._autoencoder is None else self.decode_finite_pictures(latents)
        return ImagePipelineOutput(self.postprocess(pictures, arguments.output_type))

    @override
    def preview(self, latents: Tensor) -> list[Image]:
        """The picture as it is; that which a step predicts has no noise."""
        if self._autoencoder is not None:
            return super().preview(latents)
        drawn: list[Image] = postprocess(latents, "pil")
        return drawn


class DDPMPipeline(UnconditionalPipeline[DDPMArguments]):
    """Pictures from noise, step by step (Ho et al. 2020, arXiv:2006.11239)."""

    arguments_class = DDPMArguments

    __call__ = make_call(DDPMArguments, ImagePipelineOutput)
    stream = make_stream(DDPMArguments, ImagePipelineOutput)

    def __init__(self, unet: UNet2DModel, scheduler: Scheduler) -> None:
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)


class PNDMPipeline(UnconditionalPipeline[PNDMArguments]):
    """Pictures from noise in few steps, by pseudo-numerical methods (Liu et al. 2022).

    See arXiv:2202.09778. Whatever scheduler it is given is converted.
    """

    arguments_class = PNDMArguments

    __call__ = make_call(PNDMArguments, ImagePipelineOutput)
    stream = make_stream(PNDMArguments, ImagePipelineOutput)

    def __init__(self, unet: UNet2DModel, scheduler: Scheduler) -> None:
        super().__init__()
        own = PNDMScheduler.from_config(scheduler.config)
        self.register_modules(unet=unet, scheduler=own)


class DDIMPipeline(UnconditionalPipeline[DDIMArguments]):
    """Pictures from noise in few steps, of which each follows from the noise (Song et al. 2020).

    See arXiv:2010.02502. Whatever scheduler it is given is converted.
    """

    arguments_class = DDIMArguments

    __call__ = make_call(DDIMArguments, ImagePipelineOutput)
    stream = make_stream(DDIMArguments, ImagePipelineOutput)

    _use_clipped: bool | None = None

    def __init__(self, unet: UNet2DModel, scheduler: Scheduler) -> None:
        super().__init__()
        own = DDIMScheduler.from_config(scheduler.config)
        self.register_modules(unet=unet, scheduler=own)

    @override
    def _begin(self, arguments: DDIMArguments) -> None:
        super()._begin(arguments)
        self._use_clipped = arguments.use_clipped_model_output

    @override
    def prepare_extra_step_kwargs(self, generator: Generators, eta: float) -> dict[str, Any]:
        settings = super().prepare_extra_step_kwargs(generator, eta)
        if self._use_clipped is None:
            return settings
        return {**settings, "use_clipped_model_output": self._use_clipped}


class LDMPipeline(UnconditionalPipeline[LDMArguments]):
    """Pictures from noise that is drawn in latents (Rombach et al. 2022, arXiv:2112.10752)."""

    model_cpu_offload_seq = "unet->vqvae"
    arguments_class = LDMArguments

    __call__ = make_call(LDMArguments, ImagePipelineOutput)
    stream = make_stream(LDMArguments, ImagePipelineOutput)

    vqvae: VQModel

    def __init__(self, vqvae: VQModel, unet: UNet2DModel, scheduler: Scheduler) -> None:
        super().__init__()
        self.register_modules(vqvae=vqvae, unet=unet, scheduler=scheduler)
