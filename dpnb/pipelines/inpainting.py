"""Runs that draw a part of a picture anew and keep the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dpnb.generators import randn
from dpnb.pipelines.denoise import last_entries
from dpnb.pipelines.given_pictures import IMAGE
from dpnb.pipelines.image_to_image import FromPicture, PictureArguments
from dpnb.pipelines.latents import first_generators
from dpnb.pipelines.pictures.crops import Region
from dpnb.pipelines.pictures.inputs import FORMS, PictureInput, Pictures, repeat_batch
from dpnb.pipelines.protocols import LatentPipeline

MASK = PictureInput("mask_image", "Mask", "a mask, white where to draw anew", is_mask=True)

MASKED = "masked_image_latents"

SHAPE_TOLERANCE = 0.02
"""The shapes of a picture and its mask may differ by this share, as rounded sizes do."""


@dataclass(frozen=True, kw_only=True)
class InpaintingArguments(PictureArguments):
    """The arguments of inpainting pipelines, beside those of image-to-image.

    Args:
        mask_image: white where to draw, black where the picture stays: one, or one for each picture
            that is drawn, in the forms of `image`.
        masked_image_latents: the latents of the picture without what is masked, for a network that
            sees them; made from the two by default.
        padding_mask_crop: draw the masked part alone, with so many pixels about it, and put it back
            into the picture.
        height: of what is drawn, in pixels; the model's own by default.
        width: likewise.
    """

    mask_image: Any = None
    strength: float = 1.0
    masked_image_latents: Tensor | None = None
    padding_mask_crop: int | None = None

    @override
    def check(self, callback_tensors: Sequence[str], device: torch.device, scale: int) -> None:
        super().check(callback_tensors, device, scale)
        image, mask = self.image, self.mask_image
        mask.check_count(self.picture_count)
        if mask.channels not in (None, 1):
            raise ValueError(f"mask_image has {mask.channels} channels; a mask has one.")
        if self.masked_image_latents is not None:
            self._check_masked_latents(self.masked_image_latents, scale)
        if self.padding_mask_crop is not None:
            self._check_crop(image, mask)

    def _check_masked_latents(self, masked: Tensor, scale: int) -> None:
        size = self.size[0] // scale, self.size[1] // scale
        fits = masked.ndim == 4 and masked.shape[2:] == size
        if not fits or not len(masked) or self.picture_count % len(masked):
            raise ValueError(
                f"{MASKED} has shape {tuple(masked.shape)}; for {self.picture_count} pictures of "
                f"{self.width} x {self.height} it must be [pictures, channels, {size[0]}, "
                f"{size[1]}], with one entry or as many as are drawn."
            )

    def _check_crop(self, image: Pictures, mask: Pictures) -> None:
        is_one = all(given.is_drawn and len(given) == 1 for given in (image, mask))
        if not is_one or self.output_type != "pil":
            raise ValueError(
                "padding_mask_crop cuts PIL pictures and puts them back; give one as image and one "
                'as mask_image, and output_type="pil".'
            )
        if image.size != mask.size:
            raise ValueError(
                f"mask_image is {mask.size[1]} x {mask.size[0]} and image {image.size[1]} x "
                f"{image.size[0]}; with padding_mask_crop they must have one size."
            )
        if self.padding_mask_crop is not None and self.padding_mask_crop < 0:
            raise ValueError(
                f"padding_mask_crop is {self.padding_mask_crop!r}; it is a number of pixels."
            )


A = TypeVar("A", bound=InpaintingArguments)


@dataclass(frozen=True)
class FromMaskedPicture(FromPicture[A]):
    """A run draws where a mask is white.

    A network with nine input channels sees the mask and the rest of the picture; for one with four,
    what is to stay is put back after every step, with the noise that belongs there.
    """

    picture_inputs: ClassVar[tuple[PictureInput, ...]] = (IMAGE, MASK)
    calls_prepare_latents: ClassVar[bool] = False

    def sees_mask(self, pipe: LatentPipeline[A]) -> bool:
        """Whether the network is given the mask and the rest of the picture."""
        return bool(pipe.network_channels != pipe.vae.config.latent_channels)

    @override
    def own_size(self, pipe: LatentPipeline[A], image: Pictures) -> tuple[int, int]:
        """The size that the model was made for."""
        return pipe.default_size()

    @override
    def parse_pictures(self, pipe: LatentPipeline[A], arguments: A) -> A:
        arguments = super().parse_pictures(pipe, arguments)
        if arguments.mask_image is None:
            raise ValueError(
                f"{type(pipe).__name__} draws where a mask is white; give mask_image=, {FORMS}."
            )
        mask = Pictures.parse("mask_image", arguments.mask_image, is_mask=True)
        mask.check_levels()
        mask.check_positive()
        self._check_shapes(arguments.image, mask)
        self.check_network(pipe, arguments)
        return replace(arguments, mask_image=mask)

    def _check_shapes(self, image: Pictures, mask: Pictures) -> None:
        (height, width), (own_height, own_width) = image.size, mask.size
        if abs(height * own_width / (width * own_height) - 1) > SHAPE_TOLERANCE:
            raise ValueError(
                f"mask_image is {own_width} x {own_height} and image {width} x {height}; they must "
                "have one shape, so that the mask lies where it is meant to."
            )

    def check_network(self, pipe: LatentPipeline[A], arguments: A) -> None:
        """Refuse a network that is not for this.

        Raises:
            ValueError: it takes other channels, or latents that are not given.
        """
        taken, latent = pipe.network_channels, pipe.vae.config.latent_channels
        if taken not in (latent, 2 * latent + 1):
            raise ValueError(
                f"the UNet takes {taken} channels; inpainting needs one that takes {latent}, or "
                f"{2 * latent + 1} with the mask and the rest of the picture."
            )
        masked = arguments.masked_image_latents
        if isinstance(masked, Tensor) and masked.ndim == 4 and masked.shape[1] != latent:
            raise ValueError(
                f"{MASKED} has {masked.shape[1]} channels; latents of this autoencoder have "
                f"{latent}."
            )
        lacks = masked is None and pipe.holds_latents(arguments.image)
        if self.sees_mask(pipe) and lacks:
            raise ValueError(
                "latents cannot be masked for this UNet; give masked_image_latents beside them."
            )

    @override
    def make_tensors(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        timesteps: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> dict[str, Tensor]:
        """Random numbers are drawn in the order of diffusers'."""
        count, tensors = arguments.picture_count, dict[str, Tensor]()
        is_from_noise = arguments.latents is not None or self.is_from_noise(arguments)
        sees_mask, known = self.sees_mask(pipe), None
        if not (sees_mask and is_from_noise):
            known = repeat_batch(self.encode_image(pipe, arguments, device, like), count)
        noise = pipe.sample_noise(arguments, pipe.vae.config.latent_channels, device, like)
        if is_from_noise:
            tensors["latents"] = noise * pipe.scheduler.init_noise_sigma
        elif known is not None:
            tensors["latents"] = self.add_noise(pipe, known, noise, timesteps, arguments)
        tensors |= self._make_masks(pipe, arguments, device, like)
        if not sees_mask and known is not None:
            tensors["image_latents"], tensors["noise"] = known, noise
        return tensors

    def is_from_noise(self, arguments: A) -> bool:
        """Whether nothing of the picture is left where the run begins."""
        return arguments.strength == 1.0 and not self.start.is_noisy(arguments)

    def _make_masks(
        self, pipe: LatentPipeline[A], arguments: A, device: torch.device, like: Tensor
    ) -> dict[str, Tensor]:
        """The mask, `[pictures, 1, h, w]`, and what is known of the rest of the picture."""
        count, guided = arguments.picture_count, pipe.do_classifier_free_guidance
        region = self.find_crop_region(arguments)
        mask = pipe.preprocess_mask(arguments.mask_image, *arguments.size, region)
        masked = self._encode_masked(pipe, arguments, mask, device, like)
        small = F.interpolate(mask, size=_latent_size(pipe, arguments))
        masks = {"mask": _expand_batch(small.to(device, like.dtype), count, guided)}
        if masked is not None:
            masks[MASKED] = _expand_batch(masked, count, guided)
        return masks

    @override
    def prepare_picture(self, pipe: LatentPipeline[A], arguments: A) -> Tensor:
        """The part that is drawn, where the picture is cropped."""
        region = self.find_crop_region(arguments)
        return pipe.preprocess(arguments.image, *arguments.size, region)

    def _encode_masked(
        self,
        pipe: LatentPipeline[A],
        arguments: A,
        mask: Tensor,
        device: torch.device,
        like: Tensor,
    ) -> Tensor | None:
        """The latents of the picture without what is masked, as far as they are needed.

        Where they are not, the random numbers are drawn that they would have needed: what a
        scheduler draws later stays the same.
        """
        if arguments.masked_image_latents is not None:
            return arguments.masked_image_latents.to(device, like.dtype)
        if pipe.holds_latents(arguments.image):
            return None
        is_seen = MASKED in arguments.callback_on_step_end_tensor_inputs
        if self.sees_mask(pipe) or is_seen:
            picture = (self.prepare_picture(pipe, arguments) * (mask < 0.5)).to(device, like.dtype)
            return pipe.encode_pictures(picture, arguments.generator).to(like.dtype)
        count = max(len(arguments.image), len(mask))
        randn(
            (count, pipe.vae.config.latent_channels, *_latent_size(pipe, arguments)),
            generator=first_generators(arguments.generator, count),
            device=device,
            dtype=torch.float32 if pipe.is_vae_upcast else pipe.vae.dtype,
        )
        return None

    def find_crop_region(self, arguments: A) -> Region | None:
        """The part of the picture that is drawn, `padding_mask_crop` pixels about its mask.

        `None` where all of it is.
        """
        padding = arguments.padding_mask_crop
        if padding is None:
            return None
        return Region.around(arguments.mask_image.content[0], padding, *arguments.size)

    @override
    def join_channels(
        self, pipe: LatentPipeline[A], latents: Tensor, tensors: dict[str, Tensor]
    ) -> Tensor:
        """The latents, and the mask and the rest of the picture where they are seen."""
        if not self.sees_mask(pipe):
            return latents
        beside = (last_entries(tensors[name], latents) for name in ("mask", MASKED))
        return torch.cat((latents, *beside), dim=1)

    @override
    def after_step(
        self,
        pipe: LatentPipeline[A],
        latents: Tensor,
        following: Tensor,
        tensors: dict[str, Tensor],
    ) -> Tensor:
        """Put back what is to stay, unless the network has seen to it."""
        if self.sees_mask(pipe):
            return latents
        known, mask = tensors["image_latents"], last_entries(tensors["mask"], latents)
        if len(following):
            known = pipe.scheduler.add_noise(known, tensors["noise"], following)
        return (1 - mask) * known + mask * latents

    @override
    def overlay(self, images: Any, arguments: A) -> Any:
        """With `padding_mask_crop` the whole picture, what was drawn in its place."""
        region = self.find_crop_region(arguments)
        if region is None:
            return images
        whole, mask = arguments.image.content[0], arguments.mask_image.content[0]
        return [region.paste(drawn, whole, mask) for drawn in images]


def _latent_size(pipe: LatentPipeline[A], arguments: A) -> tuple[int, int]:
    """Height and width of what is drawn, in latents."""
    scale = pipe.vae_scale_factor
    return arguments.size[0] // scale, arguments.size[1] // scale


def _expand_batch(batch: Tensor, count: int, guided: bool) -> Tensor:
    """`batch` with an entry for each of `count` pictures, and with guidance all of them twice."""
    batch = repeat_batch(batch, count)
    return torch.cat((batch, batch)) if guided else batch
