"""What pipelines share whose runs are given a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from typing_extensions import override

from dpnb.pipelines.arguments import Arguments
from dpnb.pipelines.beginnings import Beginning
from dpnb.pipelines.pictures.inputs import FORMS, PictureInput, Pictures, repeat_batch
from dpnb.pipelines.protocols import LatentPipeline

IMAGE = PictureInput("image", "Picture", "the picture to begin with")


@dataclass(frozen=True, kw_only=True)
class GivenPictureArguments(Arguments):
    """The arguments of pipelines that are given a picture, beside those of every pipeline.

    Args:
        image: the picture, or one for each that is drawn: PIL's, arrays or tensors, also in a list;
            values in [0, 1]. A tensor of floating-point numbers with as many channels as latents
            have is one of latents. What is transparent is drawn in the colour below.
        height: of the pictures, in pixels; the picture's own by default.
        width: likewise.
    """

    image: Any = None

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        self.image.check_count(self.picture_count)

    @override
    def unit(self, scale: int) -> int:
        """A picture comes in any size."""
        return scale


A = TypeVar("A", bound=GivenPictureArguments)


@dataclass(frozen=True)
class WithPicture(Beginning[A]):
    """A run is given a picture, and says what it makes of it.

    Attributes:
        mostly_latents: whether it is given latents rather than pictures with transparency, so that
            four channels of numbers in [0, 1] are no doubt some.
    """

    picture_inputs: ClassVar[tuple[PictureInput, ...]] = (IMAGE,)
    mostly_latents: ClassVar[bool] = False

    @override
    def resolve(self, pipe: LatentPipeline[A], arguments: A) -> A:
        arguments = self.parse_pictures(pipe, arguments)
        image: Pictures = arguments.image
        arguments = arguments.with_default_size(*self.own_size(pipe, image))
        if pipe.holds_latents(image):
            size = self.size_of_latents(pipe, image)
            if size != arguments.size:
                raise ValueError(
                    f"image holds latents of {size[1]} x {size[0]} pixels, and {arguments.width} x "
                    f"{arguments.height} are to be drawn; leave height and width out."
                )
        return arguments

    def size_of_latents(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        """Height and width that are drawn of latents, in pixels."""
        height, width = image.size
        return height * pipe.vae_scale_factor, width * pipe.vae_scale_factor

    def own_size(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        """Height and width that are drawn where none are asked for, in pixels."""
        unit = pipe.vae_scale_factor
        if pipe.holds_latents(image):
            return self.size_of_latents(pipe, image)
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
        image = parse_picture(pipe, "image", arguments.image, mostly_latents=self.mostly_latents)
        return replace(arguments, image=image)

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


def parse_picture(
    pipe: LatentPipeline[Any], name: str, given: Any, *, mostly_latents: bool = False
) -> Pictures:
    """The pictures, or the latents of some, that the argument `name` was given.

    Args:
        pipe: the pipeline.
        name: of the argument.
        given: its value.
        mostly_latents: see `WithPicture`.

    Raises:
        ValueError: they cannot be used.
        TypeError: they are none.
    """
    image = Pictures.parse(name, given)
    if pipe.holds_latents(image):
        image.check_finite()
        if not mostly_latents:
            image.check_latents()
        return image
    image = image.opaque()
    if image.channels not in (None, 1, 3):
        raise ValueError(
            f"{name} has {image.channels} channels; a picture has 3, and latents have "
            f"{pipe.vae.config.latent_channels}. Channels come last in arrays, and before "
            "height and width in tensors."
        )
    image.check_levels()
    return image
