"""Runs that begin with the noised latents of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import randn
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.beginnings import Beginning
from dpnb.pipelines.pictures.inputs import FORMS, PictureInput, Pictures, repeat_batch
from dpnb.pipelines.protocols import LatentPipeline

IMAGE = PictureInput("image", "Picture", "the picture to begin with")


@dataclass(frozen=True, kw_only=True)
class PictureArguments(Arguments):
    """The arguments of pipelines that begin with a picture, beside those of every pipeline.

    Args:
        image: the picture, or one for each that is drawn: PIL's, arrays or tensors, also in a list;
            values in [0, 1]. A tensor of floating-point numbers with as many channels as latents
            have is one of latents. What is transparent is drawn in the colour below.
        strength: how much of the schedule is gone through, above 0 and at most 1: 1 leaves nothing
            of the picture.
        height: of the pictures, in pixels; the picture's own by default.
        width: likewise.
    """

    image: Any = None
    strength: float = 0.8

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        if not 0 <= self.strength <= 1:
            raise ValueError(
                f"strength is {self.strength}; it is the share of the schedule that is gone "
                "through, between 0 and 1."
            )
        self.image.check_count(self.picture_count)
        self.check_steps()

    @override
    def unit(self, scale: int) -> int:
        """A picture comes in any size."""
        return scale

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
class FromPicture(Beginning[A]):
    """A run begins with the noised latents of a picture (Meng et al. 2021, arXiv:2108.01073).

    Args:
        start: where in the schedule.
    """

    picture_inputs: ClassVar[tuple[PictureInput, ...]] = (IMAGE,)

    start: StrengthStart[A] = field(default_factory=StrengthStart)

    @override
    def resolve(self, pipe: LatentPipeline[A], arguments: A) -> A:
        arguments = self.parse_pictures(pipe, arguments)
        image: Pictures = arguments.image
        arguments = arguments.with_default_size(*self.own_size(pipe, image))
        if pipe.holds_latents(image):
            size = tuple(side * pipe.vae_scale_factor for side in image.size)
            if size != arguments.size:
                raise ValueError(
                    f"image holds latents of {size[1]} x {size[0]} pixels, and {arguments.width} x "
                    f"{arguments.height} are to be drawn; leave height and width out."
                )
        return arguments

    def own_size(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        """Height and width that are drawn where none are asked for, in pixels."""
        unit = pipe.vae_scale_factor
        if pipe.holds_latents(image):
            height, width = image.size
            return height * unit, width * unit
        height, width = (side // unit * unit for side in image.size)
        if not (height and width):
            raise ValueError(
                f"image is {image.size[1]} x {image.size[0]} pixels; give one of at least {unit} x "
                f"{unit}."
            )
        return height, width

    def parse_pictures(self, pipe: LatentPipeline[A], arguments: A) -> A:
        """`arguments` with `Pictures` for what was given as such.

        Raises:
            ValueError: there is no picture, or it cannot be used.
            TypeError: it is none.
        """
        if arguments.image is None:
            raise ValueError(f"{type(pipe).__name__} begins with a picture; give image=, {FORMS}.")
        image = Pictures.parse("image", arguments.image)
        if pipe.holds_latents(image):
            image.check_finite()
            image.check_latents()
            return replace(arguments, image=image)
        image = image.opaque()
        if image.channels not in (None, 1, 3):
            raise ValueError(
                f"image has {image.channels} channels; a picture has 3, and latents have "
                f"{pipe.vae.config.latent_channels}. Channels come last in arrays, and before "
                "height and width in tensors."
            )
        image.check_levels()
        return replace(arguments, image=image)

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
        if arguments.latents is not None:
            channels = pipe.vae.config.latent_channels
            return {"latents": pipe.sample_noise(arguments, channels, device, like)}
        is_each = isinstance(arguments.generator, list)
        copies = arguments.picture_count // len(arguments.image) if is_each else 1
        latents = self.encode_image(pipe, arguments, device, like, copies)
        latents = repeat_batch(latents, arguments.picture_count)
        return {"latents": self.add_noise(pipe, latents, None, timesteps, arguments)}

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

    def encode_image(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        device: torch.device,
        like: Tensor,
        copies: int = 1,
    ) -> Tensor:
        """Latents of the pictures to begin with, in the dtype of `like`.

        Args:
            pipe: the pipeline.
            arguments: of the run.
            device: where it computes.
            like: anything in the dtype of the run.
            copies: of each picture, drawn one by one.
        """
        image: Pictures = arguments.image
        if isinstance(image.content, Tensor) and pipe.holds_latents(image):
            return repeat_batch(image.content.to(device, like.dtype), copies * len(image))
        picture = self.prepare_picture(pipe, arguments).to(device, like.dtype)
        return pipe.encode_pictures(picture, arguments.generator, copies).to(like.dtype)

    def prepare_picture(self, pipe: LatentPipeline[A], arguments: A) -> Tensor:
        """The pictures to encode, in the size that is drawn: `[pictures, 3, H, W]` in [-1, 1]."""
        return pipe.preprocess(arguments.image, *arguments.size)


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
