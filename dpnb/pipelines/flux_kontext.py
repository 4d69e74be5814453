"""FLUX.1 Kontext: pictures that take up another one, as an instruction says."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from typing_extensions import Self, TypeVar, override

from dpnb.models.latent_scales import normalize_latents
from dpnb.numbers import parse_int
from dpnb.pipelines import checked_inputs
from dpnb.pipelines.beginnings import Beginning
from dpnb.pipelines.calls import make_call, make_stream
from dpnb.pipelines.flux import FluxPipeline, FluxPipelineOutput
from dpnb.pipelines.flux_arguments import FluxArguments
from dpnb.pipelines.flux_patches import pack, positions
from dpnb.pipelines.flux_picture_loop_parts import FluxReferenceLoopParts
from dpnb.pipelines.given_pictures import parse_picture
from dpnb.pipelines.pictures.inputs import PictureInput, Pictures, repeat_batch
from dpnb.pipelines.protocols import LatentPipeline

logger = logging.getLogger(__name__)

REFERENCE = PictureInput("image", "Picture", "the picture to take up")

REFERENCE_LATENTS = "reference_latents"

SIZES = (
    (672, 1568),
    (688, 1504),
    (720, 1456),
    (752, 1392),
    (800, 1328),
    (832, 1248),
    (880, 1184),
    (944, 1104),
    (1024, 1024),
    (1104, 944),
    (1184, 880),
    (1248, 832),
    (1328, 800),
    (1392, 752),
    (1456, 720),
    (1504, 688),
    (1568, 672),
)
"""Width and height of the pictures that the network was trained with, in pixels."""


@dataclass(frozen=True, kw_only=True)
class FluxKontextArguments(FluxArguments):
    """The arguments of `FluxKontextPipeline`, beside those of FLUX.

    Args:
        prompt: what to change, or what to draw.
        image: the picture to take up, or one for each that is drawn; without one it is words alone.
        max_area: pixels of what is drawn: height and width are brought to it, and keep their ratio.
        _auto_resize: bring the picture to the nearest size that the network was trained with.
    """

    positional: ClassVar[tuple[str, ...]] = ("image", *FluxArguments.positional)

    image: Any = None
    max_area: int = 1024**2
    _auto_resize: bool = True

    @override
    def fit_size(self, scale: int) -> Self:
        """They are brought to `max_area` as they are."""
        return self

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        if self.image is not None:
            self.image.check_count(self.picture_count)


A = TypeVar("A", bound=FluxKontextArguments, default=Any)


@dataclass(frozen=True)
class FromReferredNoise(Beginning[A]):
    """A run begins with noise, and the network sees the tokens of a picture after its own."""

    picture_inputs: ClassVar[tuple[PictureInput, ...]] = (REFERENCE,)

    @override
    def resolve(self, pipe: LatentPipeline[A], arguments: A) -> A:
        if arguments.image is not None:
            image = parse_picture(pipe, REFERENCE.argument, arguments.image)
            arguments = replace(arguments, image=image)
        arguments = arguments.with_default_size(*pipe.default_size())
        unit = 2 * pipe.vae_scale_factor
        parse_int("max_area", arguments.max_area, least=unit**2)
        asked = arguments.size
        if min(asked) <= 0:
            return arguments
        height, width = bring_to_area(*asked, arguments.max_area, unit)
        if (height, width) != asked:
            logger.warning(
                "%d x %d pixels are drawn in place of %d x %d, to come near max_area.",
                width,
                height,
                asked[1],
                asked[0],
            )
        return replace(arguments, height=height, width=width)

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        tensors = {"latents": pipe.begin_latents(arguments, device, like)}
        if arguments.image is not None:
            latents = self._encode(pipe, arguments, device, like)
            tensors[REFERENCE_LATENTS] = repeat_batch(latents, arguments.picture_count)
        return tensors

    def _encode(
        self, pipe: LatentPipeline[A], arguments: A, device: torch.device, like: Tensor
    ) -> Tensor:
        """The means of the latents of the picture to take up, `[pictures, channels, h, w]`."""
        image: Pictures = arguments.image
        if isinstance(image.content, Tensor) and pipe.holds_latents(image):
            return image.content.to(device, like.dtype)
        unit = 2 * pipe.vae_scale_factor
        height, width = image.size
        if arguments._auto_resize:
            ratio = width / height
            width, height = min(SIZES, key=lambda size: abs(ratio - size[0] / size[1]))
        height, width = height // unit * unit, width // unit * unit
        if not (height and width):
            raise ValueError(
                f"image is {image.size[1]} x {image.size[0]} pixels; give one of at least {unit} x "
                f"{unit}."
            )
        picture = pipe.preprocess(image, height, width).to(device, like.dtype)
        means = pipe.encode_picture_means(picture)
        return normalize_latents(pipe.vae.config, means).to(like.dtype)


def bring_to_area(height: int, width: int, area: int, unit: int) -> tuple[int, int]:
    """Height and width of about `area` pixels, in the same ratio and multiples of `unit`."""
    ratio = width / height
    height, width = round((area / ratio) ** 0.5), round((area * ratio) ** 0.5)
    return height // unit * unit, width // unit * unit


class FluxKontextPipeline(FluxReferenceLoopParts, FluxPipeline[FluxKontextArguments]):
    """Pictures that take up another one, with FLUX.1 Kontext (Labs et al. 2025, arXiv:2506.15742).

    Without a picture it draws from words.
    """

    beginning = FromReferredNoise()

    check_input_names = checked_inputs.FLUX_WORDS

    __call__ = make_call(FluxKontextArguments, FluxPipelineOutput)
    stream = make_stream(FluxKontextArguments, FluxPipelineOutput)

    @override
    def make_tokens(self, latents: Tensor, tensors: dict[str, Tensor]) -> Tensor:
        tokens, reference = pack(latents), tensors.get(REFERENCE_LATENTS)
        if reference is None:
            return tokens
        return torch.cat((tokens, pack(repeat_batch(reference, len(latents)))), dim=1)

    @override
    def find_positions(self, arguments: FluxKontextArguments, tensors: dict[str, Tensor]) -> Tensor:
        """Those of the picture that is taken up have a one where the others have a zero."""
        own = super().find_positions(arguments, tensors)
        reference = tensors.get(REFERENCE_LATENTS)
        if reference is None:
            return own
        height, width = reference.shape[-2:]
        places = positions(0, height, width, own.device)
        places[:, 0] = 1
        return torch.cat((own, places))
