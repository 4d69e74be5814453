"""The base of pipelines whose denoising network is a UNet."""

from __future__ import annotations

from abc import ABC
from typing import Any, Generic

import torch
from torch import Tensor
from typing_extensions import TypeVar, override

from dpnb.models.unet import UNet2DConditionModel
from dpnb.nn.embeddings import embed_guidance
from dpnb.output import Output
from dpnb.pipelines.argument_checks import check_width
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.denoise import set_timesteps
from dpnb.pipelines.guidance import ClassifierFreeGuidance, Guidance, Span
from dpnb.pipelines.own_parts import LATENTS, begin_by_own, is_replaced
from dpnb.pipelines.perturbed_guidance import PerturbedAttentionGuidance
from dpnb.pipelines.text_to_image import TextToImagePipeline

A = TypeVar("A", bound=Arguments, default=Any)
Out = TypeVar("Out", bound=Output, default=Any)


class UNetPipeline(TextToImagePipeline[A, Out], ABC, Generic[A, Out]):
    """A text-to-image pipeline with a `unet`, which sees feature maps and cross-attends to words.

    A subclass says how prompts are encoded, how the network is called, and what is made of the
    final latents.
    """

    unet: UNet2DConditionModel

    @property
    @override
    def do_classifier_free_guidance(self) -> bool:
        """Not where the guidance scale is an input of the network, as after distillation."""
        return self._guidance_scale > 1 and self.unet.config.time_cond_proj_dim is None

    def prompt_dtype(self, embeds: Tensor) -> torch.dtype:
        """In which embeddings of prompts are handed on: the UNet's; their own without one."""
        unet: UNet2DConditionModel | None = self.unet
        return embeds.dtype if unet is None else unet.dtype

    @property
    @override
    def network_channels(self) -> int:
        return self.unet.config.in_channels

    @override
    def default_size(self) -> tuple[int, int]:
        """Height and width that the network was made for, in pixels."""
        size = self.unet.config.sample_size or 64
        height, width = size if isinstance(size, tuple) else (size, size)
        return height * self.vae_scale_factor, width * self.vae_scale_factor

    @override
    def check_widths(self, arguments: A) -> None:
        width = self.unet.config.cross_attention_dim
        for name, embeds in (
            ("prompt_embeds", arguments.prompt_embeds),
            ("negative_prompt_embeds", arguments.negative_prompt_embeds),
        ):
            check_width(name, embeds, width, "UNet")

    @override
    def prepare_timesteps(self, arguments: A, device: torch.device) -> tuple[Tensor, int]:
        return set_timesteps(
            self.scheduler,
            arguments.num_inference_steps,
            device,
            arguments.timesteps,
            arguments.sigmas,
        )

    @override
    def begin_latents(self, arguments: A, device: torch.device, like: Tensor) -> Tensor:
        if is_replaced(self, LATENTS):
            own: Tensor = begin_by_own(self, arguments, self.network_channels, device, like)
            return own
        noise = self.sample_noise(arguments, self.network_channels, device, like)
        return noise * float(self.scheduler.init_noise_sigma)

    def perturbed_guidance(
        self, scale: float, adaptive_scale: float, layers: tuple[str, ...]
    ) -> PerturbedAttentionGuidance | None:
        """Its guidance with a perturbation beside it, unless it has one of another kind.

        See `PerturbedAttentionGuidance` for the arguments.
        """
        inner = self.guidance
        if type(inner) is not ClassifierFreeGuidance or self.unet is None:
            return None
        return PerturbedAttentionGuidance(scale, adaptive_scale, layers, inner)

    @override
    def guidance_within(self, span: Span) -> Guidance[Any] | None:
        is_input = self.unet is None or self.unet.config.time_cond_proj_dim is not None
        return None if is_input else super().guidance_within(span)

    @override
    def prepare_conditions(self, arguments: A, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The guidance scale, where the network takes it as an input."""
        dim = self.unet.config.time_cond_proj_dim
        if dim is None:
            return {}
        latents = tensors["latents"]
        scale = torch.full((latents.shape[0],), self.guidance_scale - 1)
        return {"timestep_cond": embed_guidance(scale, dim).to(latents.device, latents.dtype)}
