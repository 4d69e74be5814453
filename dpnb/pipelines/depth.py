"""Stable Diffusion 2 that keeps the depth of a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dpnb.errors import ComponentError
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.models.unet import UNet2DConditionModel
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.argument_checks import check_channels
from dpnb.pipelines.arguments import CountedStepsArguments
from dpnb.pipelines.beginnings import SeesBeside
from dpnb.pipelines.call_order import COUNTS, OUTPUT, STEP_CALLBACK
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.checked_inputs import EMBEDS
from dpnb.pipelines.image_to_image import FromPicture, PictureArguments
from dpnb.pipelines.loop_parts import PictureLoopParts
from dpnb.pipelines.pictures.images import ImagePipelineOutput, postprocess
from dpnb.pipelines.pictures.inputs import Pictures, repeat_batch
from dpnb.pipelines.protocols import LatentPipeline
from dpnb.pipelines.stable_diffusion import (
    StableDiffusionArguments,
    StableDiffusionPipeline,
    StableDiffusionPipelineOutput,
)
from dpnb.schedulers.scheduler import Scheduler

if TYPE_CHECKING:
    from transformers import (
        CLIPTextModel,
        CLIPTokenizer,
        DPTForDepthEstimation,
        DPTImageProcessor,
    )

DEPTH = "depth_mask"
"""The tensor of a run that holds the depth, from -1, the farthest, to 1."""


@dataclass(frozen=True, kw_only=True)
class DepthArguments(StableDiffusionArguments, PictureArguments, CountedStepsArguments):
    """The arguments of `StableDiffusionDepth2ImgPipeline`; see the bases.

    Args:
        depth_map: how near every place is, `[pictures, height, width]` in any size and unit, larger
            where nearer; the depth estimator's view of `image` by default.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "image",
        "depth_map",
        "strength",
        "num_inference_steps",
        "guidance_scale",
        "negative_prompt",
        *COUNTS,
        *EMBEDS,
        *OUTPUT,
        "cross_attention_kwargs",
        "clip_skip",
        *STEP_CALLBACK,
    )
    depth_map: Tensor | None = None

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        depth = self.depth_map
        if depth is None:
            return
        if not isinstance(depth, Tensor) or depth.ndim != 3 or self.picture_count % len(depth):
            form = tuple(depth.shape) if isinstance(depth, Tensor) else type(depth).__name__
            raise ValueError(
                f"depth_map is {form}; give a tensor [pictures, height, width], with one entry or "
                f"as many as are drawn, {self.picture_count}."
            )
        if not bool(depth.isfinite().all()):
            raise ValueError("depth_map holds NaN or infinity; give finite numbers.")


A = TypeVar("A", bound=DepthArguments)


@dataclass(frozen=True)
class FromPictureWithDepth(SeesBeside[A], FromPicture[A]):
    """A run begins with a picture, and the network sees its depth beside the latents."""

    beside: ClassVar[str] = DEPTH

    @override
    def parse_pictures(self, pipe: LatentPipeline[A], arguments: A) -> A:
        arguments = super().parse_pictures(pipe, arguments)
        if arguments.depth_map is None and pipe.holds_latents(arguments.image):
            raise ValueError("latents have no depth to estimate; give depth_map beside them.")
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
        depth = arguments.depth_map
        if depth is None:
            depth = pipe.estimate_depth(arguments.image, device, like.dtype)
        size = [side // pipe.vae_scale_factor for side in arguments.size]
        beside = scale_depth(depth.to(device, like.dtype), size).to(like.dtype)
        beside = repeat_batch(beside, arguments.picture_count)
        if pipe.do_classifier_free_guidance:
            beside = torch.cat((beside, beside))
        return {**super().make_tensors(pipe, arguments, timesteps, device, like), DEPTH: beside}


def scale_depth(depth: Tensor, size: Sequence[int]) -> Tensor:
    """`depth` `[pictures, H, W]` as the network sees it, `[pictures, 1, h, w]` from -1 to 1.

    Args:
        depth: in any unit, larger where nearer.
        size: h and w, in latents.
    """
    small = F.interpolate(depth[:, None], size=[*size], mode="bicubic", align_corners=False)
    least = small.amin(dim=(1, 2, 3), keepdim=True)
    most = small.amax(dim=(1, 2, 3), keepdim=True)
    spread = torch.where(most > least, most - least, torch.ones_like(most))
    return 2.0 * (small - least) / spread - 1.0


class StableDiffusionDepth2ImgPipeline(PictureLoopParts, StableDiffusionPipeline[DepthArguments]):
    """A picture and words to pictures of the same depth, with Stable Diffusion 2.

    The network (Rombach et al. 2022, arXiv:2112.10752) sees the depth that DPT (Ranftl et al. 2021,
    arXiv:2103.13413) has estimated.
    """

    model_cpu_offload_seq = "text_encoder->depth_estimator->unet->vae"
    outdated_settings: ClassVar[Mapping[str, Any]] = {}
    _optional_components: ClassVar[list[str]] = []
    _callback_tensor_inputs: ClassVar[list[str]] = [
        *StableDiffusionPipeline._callback_tensor_inputs,
        DEPTH,
    ]

    depth_estimator: Any

    beginning = FromPictureWithDepth()
    arguments_class = DepthArguments
    check_input_names = checked_inputs.DEPTH

    __call__ = make_call(DepthArguments, ImagePipelineOutput)  # type: ignore[arg-type]
    stream = make_stream(DepthArguments, ImagePipelineOutput)  # type: ignore[assignment]

    def __init__(
        self,
        vae: AutoencoderKL,
        text_encoder: CLIPTextModel,
        tokenizer: CLIPTokenizer,
        unet: UNet2DConditionModel,
        scheduler: Scheduler,
        depth_estimator: DPTForDepthEstimation,
        feature_extractor: DPTImageProcessor,
    ) -> None:
        super().__init__(
            vae,
            text_encoder,
            tokenizer,
            unet,
            scheduler,
            requires_safety_checker=False,
        )
        self._settings.clear()
        self.register_modules(depth_estimator=depth_estimator, feature_extractor=feature_extractor)

    @override
    def check_parts(self, arguments: DepthArguments) -> None:
        super().check_parts(arguments)
        check_channels(
            "UNet",
            self.network_channels,
            self.vae.config.latent_channels + 1,
            "sees depth",
            "the latents and of the depth beside them",
        )
        lacks = self.depth_estimator is None or self.feature_extractor is None
        if lacks and arguments.depth_map is None:
            raise ComponentError(
                "there is no depth_estimator with a feature_extractor; give them, or depth_map."
            )

    def estimate_depth(self, image: Pictures, device: torch.device, dtype: torch.dtype) -> Tensor:
        """How near every place of pictures is, `[pictures, height, width]`; larger where nearer.

        Args:
            image: the pictures.
            device: where it is computed.
            dtype: of the run.
        """
        shown = image.content
        if isinstance(shown, Tensor):
            shown = postprocess(image.image(*image.size), "pil")
        coloured = [one.convert("RGB") for one in shown]
        seen = self.feature_extractor(images=coloured, return_tensors="pt").pixel_values
        is_narrow = dtype in (torch.float16, torch.bfloat16)
        with torch.autocast(device.type, dtype=dtype) if is_narrow else nullcontext():
            depth: Tensor = self.depth_estimator(seen.to(device, dtype)).predicted_depth
        return depth

    @override
    def make_output(self, latents: Tensor, arguments: DepthArguments) -> Any:
        drawn: StableDiffusionPipelineOutput = super().make_output(latents, arguments)
        return ImagePipelineOutput(drawn.images)
