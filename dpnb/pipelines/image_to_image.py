"""The base of image-to-image pipelines: a run that begins with the noised latents of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.generators import Generators, randn
from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.latents import encode_latents
from dpnb.pipelines.pictures.inputs import FORMS, PictureInput, Pictures, repeat_batch
from dpnb.pipelines.unet_pipeline import UNetPipeline

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
            steps_left(self.num_inference_steps if custom is None else len(custom), self.strength)


class ImageToImage(UNetPipeline):
    """A pipeline that begins with a picture; a mixin, which precedes the text-to-image class."""

    picture_inputs: ClassVar[tuple[PictureInput, ...]] = (IMAGE,)

    @override
    def resolve_size(self, arguments: Any) -> Any:
        """`arguments` with the pictures read, and their size where none was asked for."""
        arguments = self.parse_pictures(arguments)
        arguments = arguments.with_default_size(*self.own_size(arguments.image))
        if self.holds_latents(arguments.image):
            size = tuple(side * self.vae_scale_factor for side in arguments.image.size)
            if size != (arguments.height, arguments.width):
                raise ValueError(
                    f"image holds latents of {size[1]} x {size[0]} pixels, and {arguments.width} x "
                    f"{arguments.height} are to be drawn; leave height and width out."
                )
        return arguments

    def own_size(self, image: Pictures) -> tuple[int, int]:
        """Height and width that are drawn where none are asked for, in pixels."""
        if self.holds_latents(image):
            height, width = image.size
            return height * self.vae_scale_factor, width * self.vae_scale_factor
        unit = self.vae_scale_factor
        height, width = (side // unit * unit for side in image.size)
        if not (height and width):
            raise ValueError(
                f"image is {image.size[1]} x {image.size[0]} pixels; give one of at least {unit} x "
                f"{unit}."
            )
        return height, width

    def parse_pictures(self, arguments: Any) -> Any:
        """`arguments` with `Pictures` for what was given as such.

        Raises:
            ValueError: there is no picture, or it cannot be used.
            TypeError: it is none.
        """
        if arguments.image is None:
            raise ValueError(f"{type(self).__name__} begins with a picture; give image=, {FORMS}.")
        image = Pictures.parse("image", arguments.image)
        if self.holds_latents(image):
            image.check_finite()
            image.check_latents()
            return replace(arguments, image=image)
        image = image.opaque()
        if image.channels not in (None, 1, 3):
            raise ValueError(
                f"image has {image.channels} channels; a picture has 3, and latents have "
                f"{self.vae.config.latent_channels}. Channels come last in arrays, and before "
                "height and width in tensors."
            )
        image.check_levels()
        return replace(arguments, image=image)

    def holds_latents(self, pictures: Pictures) -> bool:
        """Whether these are latents instead of pictures."""
        return pictures.may_be_latents and pictures.channels == self.vae.config.latent_channels

    @override
    def select_timesteps(self, timesteps: Tensor, count: int, arguments: Any) -> slice:
        """Those from the noise that `strength` adds to the picture."""
        selected = super().select_timesteps(timesteps, count, arguments)
        start = self.find_start_index(timesteps, count, arguments)
        if start >= selected.stop:
            raise ValueError("no step of the schedule is left; begin earlier, or take more steps.")
        return slice(start, selected.stop)

    def find_start_index(self, timesteps: Tensor, count: int, arguments: Any) -> int:
        """The index of the run's first timestep; the arguments are those of `select_timesteps`."""
        order: int = self.scheduler.order
        return (count - steps_left(count, arguments.strength)) * order

    @override
    def begin_latents(
        self,
        arguments: Any,
        timesteps: Tensor,
        device: torch.device,
        tensors: dict[str, Tensor],
    ) -> None:
        like = tensors["prompt_embeds"]
        if arguments.latents is not None:
            channels = self.vae.config.latent_channels
            tensors["latents"] = self.sample_noise(arguments, channels, device, like)
            return
        is_each = isinstance(arguments.generator, list)
        copies = arguments.picture_count // len(arguments.image) if is_each else 1
        latents = self.encode_image(arguments, device, like, copies)
        latents = repeat_batch(latents, arguments.picture_count)
        tensors["latents"] = self.add_noise(latents, None, timesteps, arguments)

    def add_noise(
        self, latents: Tensor, noise: Tensor | None, timesteps: Tensor, arguments: Any
    ) -> Tensor:
        """The latents of a picture with the noise of the run's first timestep.

        Args:
            latents: `[pictures, channels, h, w]`.
            noise: of their shape; drawn by default.
            timesteps: of the run.
            arguments: likewise.
        """
        if noise is None:
            noise = randn(
                latents.shape,
                generator=arguments.generator,
                device=latents.device,
                dtype=latents.dtype,
            )
        first = timesteps[:1].repeat(len(latents))
        return self.scheduler.add_noise(latents, noise, first)  # type: ignore[no-any-return]

    def encode_image(
        self, arguments: Any, device: torch.device, like: Tensor, copies: int = 1
    ) -> Tensor:
        """Latents of the pictures to begin with, in the dtype of `like`.

        Args:
            arguments: of the run.
            device: where it computes.
            like: anything in the dtype of the run.
            copies: of each picture, drawn one by one.
        """
        image: Pictures = arguments.image
        if isinstance(image.content, Tensor) and self.holds_latents(image):
            return repeat_batch(image.content.to(device, like.dtype), copies * len(image))
        picture = self.prepare_picture(arguments).to(device, like.dtype)
        return self.encode_pictures(picture, arguments.generator, copies).to(like.dtype)

    def prepare_picture(self, arguments: Any) -> Tensor:
        """The pictures to encode, in the size that is drawn: `[pictures, 3, H, W]` in [-1, 1]."""
        picture: Tensor = arguments.image.image(arguments.height, arguments.width)
        return picture

    def encode_pictures(self, pictures: Tensor, generator: Generators, copies: int = 1) -> Tensor:
        """Latents of pictures `[pictures, 3, H, W]` in [-1, 1]; see `latents.encode_latents`."""
        own = first_generators(generator, copies * len(pictures))
        return encode_latents(self.vae, pictures, own, copies, upcast=self.is_vae_upcast)


def first_generators(generator: Generators, count: int) -> Generators:
    """The generators of the first `count` pictures."""
    return generator[:count] if isinstance(generator, list) else generator


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
