"""Latent consistency models: Stable Diffusion distilled to a few steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic

import torch
from torch import Tensor
from typing_extensions import TypeVar, override

from dpnb.errors import ComponentError
from dpnb.numbers import parse_int
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.denoise import DENOISED
from dpnb.pipelines.image_to_image import FromPicture, PictureArguments, StrengthStart
from dpnb.pipelines.loop_parts import PictureLoopParts
from dpnb.pipelines.protocols import LatentPipeline
from dpnb.pipelines.stable_diffusion import (
    StableDiffusionArguments,
    StableDiffusionPipeline,
    StableDiffusionPipelineOutput,
)
from dpnb.schedulers.distilled import DistilledScheduler
from dpnb.stages import Step

GUIDANCE = "w_embedding"
"""What callbacks know the embedded guidance scale by."""

NO_NEGATIVE = "the guidance scale is an input of the network, which sees no negative prompt."

STEPS = ("original_inference_steps", "timesteps", "guidance_scale", "num_images_per_prompt")
BESIDE = (*STEPS, "generator", "latents", "prompt_embeds")


@dataclass(frozen=True, kw_only=True)
class LatentConsistencyArguments(StableDiffusionArguments):
    """The arguments of `LatentConsistencyModelPipeline`; see the bases.

    Args:
        num_inference_steps: usually 1 to 8.
        guidance_scale: an input of the network.
        original_inference_steps: of the schedule that was distilled; the scheduler's by default.
    """

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "height",
        "width",
        "num_inference_steps",
        *BESIDE,
    )
    absent: ClassVar[frozenset[str]] = frozenset({"negative_prompt", "negative_prompt_embeds"})
    refused: ClassVar[Mapping[str, str]] = {
        **Arguments.refused,
        "negative_prompt": NO_NEGATIVE,
        "negative_prompt_embeds": NO_NEGATIVE,
    }

    num_inference_steps: int = 4
    guidance_scale: float = 8.5
    original_inference_steps: int | None = None

    @property
    def schedule_strength(self) -> float:
        """The share of the distilled schedule that is gone through."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class LatentConsistencyImg2ImgArguments(LatentConsistencyArguments, PictureArguments):
    """The arguments of `LatentConsistencyModelImg2ImgPipeline`; see the bases."""

    positional: ClassVar[tuple[str, ...]] = (
        "prompt",
        "image",
        "num_inference_steps",
        "strength",
        *BESIDE,
    )

    @property
    @override
    def schedule_strength(self) -> float:
        return self.strength

    @override
    def check_steps(self) -> None:
        """The steps are spread over the share of the schedule: all of them are taken."""
        if self.strength == 0:
            raise ValueError("strength is 0.0, which leaves nothing to draw; use more.")


A = TypeVar("A", bound=LatentConsistencyArguments, default=Any)
P = TypeVar("P", bound=LatentConsistencyImg2ImgArguments, default=Any)


class _LatentConsistency(StableDiffusionPipeline[A], Generic[A]):
    """What both pipelines have: a schedule of few steps, and no second look without the prompt."""

    arguments_class = LatentConsistencyArguments
    outdated_settings: ClassVar[Mapping[str, Any]] = {}

    _callback_tensor_inputs: ClassVar[list[str]] = [
        "latents",
        DENOISED,
        "prompt_embeds",
        GUIDANCE,
    ]

    @property
    @override
    def do_classifier_free_guidance(self) -> bool:
        return False

    @override
    def check_parts(self, arguments: A) -> None:
        super().check_parts(arguments)
        if not isinstance(self.scheduler, DistilledScheduler):
            raise ComponentError(
                "latent consistency takes few steps of a distilled schedule, and "
                f"{type(self.scheduler).__name__} has none; use LCMScheduler."
            )
        if arguments.original_inference_steps is not None:
            parse_int("original_inference_steps", arguments.original_inference_steps, least=1)

    @override
    def prepare_timesteps(self, arguments: A, device: torch.device) -> tuple[Tensor, int]:
        given = arguments.timesteps
        self.scheduler.set_timesteps(
            None if given is not None else arguments.num_inference_steps,
            device=device,
            timesteps=given,
            original_inference_steps=arguments.original_inference_steps,
            strength=arguments.schedule_strength,
        )
        return self.scheduler.timesteps, len(self.scheduler.timesteps)

    @override
    def prepare_conditions(self, arguments: A, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Beside them a place for the clean latents that steps foresee, where they are seen."""
        conditions = super().prepare_conditions(arguments, tensors)
        if DENOISED in arguments.callback_on_step_end_tensor_inputs:
            conditions[DENOISED] = tensors["latents"]
        return conditions

    @override
    def call_back(self, arguments: A, step: Step[Any], tensors: dict[str, Tensor]) -> Tensor:
        """They see the guidance that the network is given; the last clean latents are decoded."""
        denoised = tensors.get(DENOISED)
        if "timestep_cond" in tensors:
            tensors[GUIDANCE] = tensors.pop("timestep_cond")
        latents = super().call_back(arguments, step, tensors)
        if GUIDANCE in tensors:
            tensors["timestep_cond"] = tensors.pop(GUIDANCE)
        is_last = step.index + 1 == step.total
        if is_last and denoised is not None and tensors[DENOISED] is not denoised:
            latents = tensors["latents"] = tensors[DENOISED]
        return latents


class LatentConsistencyModelPipeline(_LatentConsistency[LatentConsistencyArguments]):
    """Words to pictures in a few steps (Luo et al. 2023, arXiv:2310.04378)."""

    check_input_names = checked_inputs.CONSISTENCY_WORDS

    __call__ = make_call(LatentConsistencyArguments, StableDiffusionPipelineOutput)
    stream = make_stream(LatentConsistencyArguments, StableDiffusionPipelineOutput)


@dataclass(frozen=True)
class WholeSchedule(StrengthStart[P]):
    """A run begins at the schedule's first timestep, which the strength has chosen."""

    @override
    def find_index(
        self, pipe: LatentPipeline[P], timesteps: Tensor, count: int, arguments: P
    ) -> int:
        return 0


class LatentConsistencyModelImg2ImgPipeline(
    PictureLoopParts, _LatentConsistency[LatentConsistencyImg2ImgArguments]
):
    """Pictures and words to pictures in a few steps."""

    beginning = FromPicture(WholeSchedule())

    check_input_names = checked_inputs.CONSISTENCY_PICTURE

    __call__ = make_call(LatentConsistencyImg2ImgArguments, StableDiffusionPipelineOutput)
    stream = make_stream(LatentConsistencyImg2ImgArguments, StableDiffusionPipelineOutput)
