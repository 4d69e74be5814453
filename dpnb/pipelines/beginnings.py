"""What a run begins with: the value that a pipeline holds for it, and the simplest of its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.denoise import last_entries
from dpnb.pipelines.pictures.inputs import PictureInput
from dpnb.pipelines.protocols import LatentPipeline

A = TypeVar("A", bound=Arguments)


class Beginning(ABC, Generic[A]):
    """What a run begins with, and what follows from that until its pictures are done.

    A pipeline holds one as its `beginning`. It is a value: what belongs to a run is in the run's
    arguments and tensors. The type parameter is the arguments that it asks for.
    """

    picture_inputs: ClassVar[tuple[PictureInput, ...]] = ()
    """The pictures that a run begins with, beside the words."""

    calls_prepare_latents: ClassVar[bool] = False
    """Whether a run calls a `prepare_latents` that somebody has put in the place of ours."""

    @abstractmethod
    def resolve(self, pipe: LatentPipeline[A], arguments: A) -> A:
        """`arguments` with the pictures read, and a size where none was asked for.

        Raises:
            ValueError: a picture is missing, or cannot be used.
            TypeError: what was given is none.
        """

    def find_start_index(
        self, pipe: LatentPipeline[A], timesteps: Tensor, count: int, arguments: A
    ) -> int:
        """The index of the run's first timestep.

        Args:
            pipe: the pipeline.
            timesteps: the schedule.
            count: its steps, as a person counts them.
            arguments: of the run.

        Raises:
            ValueError: no step is left.
        """
        return 0

    @abstractmethod
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        """The `latents` that a run begins with, and what belongs to them, by name.

        Args:
            pipe: the pipeline.
            arguments: of the run.
            timesteps: that it goes through, `[steps]`.
            device: where it computes.
            like: any tensor in the dtype of the run.
        """

    def join_channels(
        self, pipe: LatentPipeline[A], latents: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        """The network's input: `latents` `[batch, channels, h, w]` and the channels beside them."""
        return latents

    def after_step(
        self,
        pipe: LatentPipeline[A],
        latents: Tensor,
        following: Tensor,
        tensors: dict[str, Tensor],
    ) -> Tensor:
        """The latents to go on with after a step.

        Args:
            pipe: the pipeline.
            latents: what the scheduler has made, `[batch, channels, h, w]`.
            following: the next timestep, `[1]`; `[0]` after the last step.
            tensors: of the run.
        """
        return latents

    def overlay(self, images: Any, arguments: A) -> Any:
        """Decoded pictures laid over the originals, where a run has drawn a part of them alone.

        Args:
            images: in the form that `output_type` asked for.
            arguments: of the run.
        """
        return images


class SeesBeside(Beginning[A]):
    """A beginning of runs whose network sees the channels of one more tensor beside the latents.

    It goes before another that says what the run begins with.
    """

    beside: ClassVar[str]
    """The tensor's name in a run; with guidance it holds an entry for each look at a latent."""

    @override
    def join_channels(
        self, pipe: LatentPipeline[A], latents: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        return torch.cat((latents, last_entries(tensors[self.beside], latents)), dim=1)


@dataclass(frozen=True)
class FromNoise(Beginning[A]):
    """A run begins with noise alone."""

    calls_prepare_latents: ClassVar[bool] = True

    @override
    def resolve(self, pipe: LatentPipeline[A], arguments: A) -> A:
        """Latents that are given have a size."""
        given = arguments.latents
        if not isinstance(given, Tensor) or given.ndim != 4:
            return arguments.with_default_size(*pipe.default_size())
        height, width = (side * pipe.vae_scale_factor for side in given.shape[-2:])
        return arguments.with_default_size(height, width)

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        return {"latents": pipe.begin_latents(arguments, device, like)}
