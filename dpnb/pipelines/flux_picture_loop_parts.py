"""The parts of a run of FLUX with a picture, for scripts that write its loop themselves.

Pictures are tensors `[pictures, 3, H, W]` in [-1, 1], and latents are packed:
`[pictures, tokens, channels]`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dpnb.generators import Generators, randn
from dpnb.models.latent_scales import normalize_latents
from dpnb.pipelines.flux_loop_parts import FluxLoopParts
from dpnb.pipelines.flux_patches import pack
from dpnb.pipelines.mask_loop_parts import EncodingLoopParts, fill_batch


class FluxPictureLoopParts(FluxLoopParts, EncodingLoopParts):
    """What a loop of one's own calls of a FLUX pipeline that begins with a picture."""

    @override
    def prepare_latents(  # type: ignore[override]
        self,
        image: Tensor,
        timestep: Tensor,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
        latents: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """The latents of a picture with the noise of a timestep, and where each token is.

        Args:
            image: the picture, or latents of one as feature maps.
            timestep: `[1]`, or one for each picture that is drawn.
            batch_size: how many are drawn.
            num_channels_latents: channels of their latents, before they are packed.
            height: of the pictures, in pixels.
            width: likewise.
            dtype: of the latents.
            device: where they are to be.
            generator: of the numbers; a list has one for each picture.
            latents: packed ones that are taken instead.
        """
        size = self._latent_sides(height, width)
        ids = self._ids(batch_size, *size, device, dtype)
        if latents is not None:
            return latents.to(device, dtype), ids
        known = self._encode_batch(image, batch_size, dtype, device, generator)
        noise = _draw((batch_size, num_channels_latents, *size), dtype, device, generator)
        return pack(self.scheduler.add_noise(known, noise, timestep)), ids

    def _latent_sides(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in latents, of whole tokens."""
        unit = 2 * self.vae_scale_factor
        return 2 * (int(height) // unit), 2 * (int(width) // unit)

    def _ids(
        self, count: int, height: int, width: int, device: torch.device | str, dtype: torch.dtype
    ) -> Tensor:
        place = torch.device(device)
        return self._prepare_latent_image_ids(count, height // 2, width // 2, place, dtype)

    def _encode_batch(
        self,
        image: Tensor,
        count: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
    ) -> Tensor:
        known = self._encode_unless_latents(image, dtype, device, generator)
        return fill_batch("image", known, count)


class FluxMaskLoopParts(FluxPictureLoopParts):
    """What a loop of one's own calls of one that draws a part of a picture anew."""

    @override
    def prepare_latents(  # type: ignore[override]
        self,
        image: Tensor,
        timestep: Tensor,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
        latents: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """As in the base, but for `latents`, which are the noise itself, as feature maps.

        Returns:
            The latents, the noise, the picture's latents, and where each token is.
        """
        size = self._latent_sides(height, width)
        known = self._encode_batch(image, batch_size, dtype, device, generator)
        if latents is None:
            noise = _draw((batch_size, num_channels_latents, *size), dtype, device, generator)
            begun = self.scheduler.add_noise(known, noise, timestep)
        else:
            noise = begun = latents.to(device)
        ids = self._ids(batch_size, *size, device, dtype)
        return pack(begun), pack(noise), pack(known), ids

    @torch.no_grad()
    def prepare_mask_latents(
        self,
        mask: Tensor,
        masked_image: Tensor,
        batch_size: int,
        num_channels_latents: int,
        num_images_per_prompt: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
    ) -> tuple[Tensor, Tensor]:
        """A mask as tokens, and the latents of the rest of its picture.

        Args:
            mask: `[masks, 1, H, W]`, one where something is to be drawn.
            masked_image: the picture without that, or its latents.
            batch_size: how many prompts.
            num_channels_latents: channels of latents, for each of which the mask is repeated.
            num_images_per_prompt: pictures of each.
            height: of them, in pixels.
            width: likewise.
            dtype: of what is returned.
            device: where it is to be.
            generator: of the latents.
        """
        count, size = batch_size * num_images_per_prompt, self._latent_sides(height, width)
        small = F.interpolate(mask, size=size).to(device, dtype)
        rest = self._encode_batch(masked_image, count, dtype, device, generator)
        small = fill_batch("mask", small, count).repeat(1, num_channels_latents, 1, 1)
        return pack(small), pack(rest)


class FluxFillLoopParts(FluxPictureLoopParts):
    """What a loop of one's own calls of one whose network sees the rest of the picture."""

    @torch.no_grad()
    def prepare_mask_latents(
        self,
        mask: Tensor,
        masked_image: Tensor,
        batch_size: int,
        num_channels_latents: int,
        num_images_per_prompt: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
    ) -> tuple[Tensor, Tensor]:
        """Every pixel of a mask as tokens, and the latents of the rest of its picture.

        See `FluxMaskLoopParts.prepare_mask_latents`; latents that are given in place of the picture
        are not scaled yet.
        """
        pipe: Any = self
        count = batch_size * num_images_per_prompt
        if masked_image.shape[1] == num_channels_latents:
            rest = normalize_latents(pipe.vae.config, masked_image)
        else:
            rest = self._encode_vae_image(masked_image, generator)
        rest = fill_batch("masked_image", rest.to(device, dtype), count)
        pixels = F.pixel_unshuffle(fill_batch("mask", mask, count), self.vae_scale_factor)
        return pack(pixels).to(device, dtype), pack(rest)


class FluxReferenceLoopParts(FluxPictureLoopParts):
    """What a loop of one's own calls of one whose network sees another picture's tokens."""

    @torch.no_grad()
    @override
    def _encode_vae_image(self, image: Tensor, generator: Generators) -> Tensor:
        """Means of the latents of pictures, scaled; nothing is drawn."""
        pipe: Any = self
        means = pipe.encode_picture_means(image)
        return normalize_latents(pipe.vae.config, means).to(image.dtype)

    @override
    def prepare_latents(  # type: ignore[override]
        self,
        image: Tensor | None,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators = None,
        latents: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """Noise, the latents of the picture to take up, and where the tokens of both are.

        For the arguments see the base.
        """
        tokens = places = None
        if image is not None:
            known = self._encode_batch(image, batch_size, dtype, device, generator)
            tokens = pack(known)
            places = self._ids(batch_size, known.shape[2], known.shape[3], device, dtype)
            places[..., 0] = 1
        size = self._latent_sides(height, width)
        ids = self._ids(batch_size, *size, device, dtype)
        if latents is not None:
            return latents.to(device, dtype), tokens, ids, places
        noise = _draw((batch_size, num_channels_latents, *size), dtype, device, generator)
        return pack(noise), tokens, ids, places


def _draw(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    device: torch.device | str,
    generator: Generators,
) -> Tensor:
    return randn(shape, generator=generator, device=torch.device(device), dtype=dtype)
