"""Runs that begin with the noised latents of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import randn
from dpnb.pipelines.given_pictures import GivenPictureArguments, WithPicture
from dpnb.pipelines.own_parts import LATENTS, is_replaced
from dpnb.pipelines.pictures.inputs import repeat_batch
from dpnb.pipelines.protocols import LatentPipeline


@dataclass(frozen=True, kw_only=True)
class PictureArguments(GivenPictureArguments):
    """The arguments of pipelines that begin with a picture; see the base.

    Args:
        strength: how much of the schedule is gone through, above 0 and at most 1: 1 leaves nothing
            of the picture.
    """

    strength: float = 0.8

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        if not 0 <= self.strength <= 1:
            raise ValueError(
                f"strength is {self.strength}; it is the share of the schedule that is gone "
                "through, between 0 and 1."
            )
        self.check_steps()

    def check_steps(self) -> None:
        """Refuse a strength that leaves no step.

        Raises:
            ValueError: it does.
        """
        if self.sigmas is None:
            custom = self.timesteps
            self.steps_left(self.num_inference_steps if custom is None else len(custom))

    def steps_left(self, count: int) -> int:
        """How many of `count` steps are taken.

        Raises:
            ValueError: none.
        """
        return steps_left(count, self.strength)


A = TypeVar("A", bound=PictureArguments)


@dataclass(frozen=True)
class StrengthStart(Generic[A]):
    """Where in the schedule a run with a picture begins: at the noise that `strength` adds."""

    def find_index(
        self, pipe: LatentPipeline[A], timesteps: Tensor, count: int, arguments: A
    ) -> int:
        """The index of the run's first timestep; see `Beginning.find_start_index`."""
        order: int = pipe.scheduler.order
        return (count - arguments.steps_left(count)) * order

    def is_noisy(self, arguments: A) -> bool:
        """Whether the picture has the noise of the first timestep already."""
        return False


@dataclass(frozen=True)
class FromPicture(WithPicture[A]):
    """A run begins with the noised latents of a picture (Meng et al. 2021, arXiv:2108.01073).

    Args:
        start: where in the schedule.
    """

    calls_prepare_latents: ClassVar[bool] = True

    start: StrengthStart[A] = field(default_factory=StrengthStart)

    @override
    def find_start_index(
        self, pipe: LatentPipeline[A], timesteps: Tensor, count: int, arguments: A
    ) -> int:
        index = self.start.find_index(pipe, timesteps, count, arguments)
        if index >= pipe.find_stop_index(timesteps, arguments):
            raise ValueError("no step of the schedule is left; begin earlier, or take more steps.")
        return index

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        if is_replaced(pipe, LATENTS):
            return {"latents": self._begin_by_own(pipe, arguments, timesteps, device, like)}
        if arguments.latents is not None:
            channels = pipe.vae.config.latent_channels
            return {"latents": pipe.sample_noise(arguments, channels, device, like)}
        is_each = isinstance(arguments.generator, list)
        copies = arguments.picture_count // len(arguments.image) if is_each else 1
        latents = self.encode_image(pipe, arguments, device, like, copies)
        latents = repeat_batch(latents, arguments.picture_count)
        return {"latents": self.add_noise(pipe, latents, None, timesteps, arguments)}

    def _begin_by_own(
        self, pipe: Any, arguments: A, timesteps: Tensor, device: torch.device, like: Tensor
    ) -> Any:
        """What a `prepare_latents` of somebody's own makes of the picture."""
        content = arguments.image.content
        is_encoded = isinstance(content, Tensor) and pipe.holds_latents(arguments.image)
        picture = content if is_encoded else self.prepare_picture(pipe, arguments)
        return pipe.prepare_latents(
            picture.to(device, like.dtype),
            timesteps[:1].repeat(arguments.picture_count),
            arguments.batch_size,
            arguments.num_images_per_prompt,
            like.dtype,
            device,
            arguments.generator,
            *([False] if self.start.is_noisy(arguments) else []),
        )

    def add_noise(
        self,
        pipe: LatentPipeline[A],
        latents: Tensor,
        noise: Tensor | None,
        timesteps: Tensor,
        arguments: A,
    ) -> Tensor:
        """The latents of a picture with the noise of the run's first timestep.

        Args:
            pipe: the pipeline.
            latents: `[pictures, channels, h, w]`.
            noise: of their shape; drawn by default.
            timesteps: of the run.
            arguments: likewise.
        """
        if self.start.is_noisy(arguments):
            return latents
        if noise is None:
            noise = randn(
                latents.shape,
                generator=arguments.generator,
                device=latents.device,
                dtype=latents.dtype,
            )
        first = timesteps[:1].repeat(len(latents))
        noisy: Tensor = pipe.scheduler.add_noise(latents, noise, first)
        return noisy


def begun_steps(count: int, strength: float) -> int:
    """As `steps_left`, where a step counts that is left in part.

    Raises:
        ValueError: none is.
    """
    left = count - int(count - min(count * strength, count))
    return left or steps_left(count, strength)


def steps_left(count: int, strength: float) -> int:
    """How many of `count` steps are taken at this strength.

    Raises:
        ValueError: none.
    """
    left = min(int(count * strength), count)
    if left < 1:
        raise ValueError(
            f"strength is {strength}, which leaves none of {count} steps; use at least "
            f"{1 / count:.2g}, or more steps."
        )
    return left
