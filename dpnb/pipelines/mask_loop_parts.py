"""The parts of a run around a mask or beside a picture, for scripts that write its loop themselves.

Pictures are tensors `[pictures, 3, H, W]` in [-1, 1], as an `image_processor` makes them, and masks
`[masks, 1, H, W]` of zeros and ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dpnb.generators import Generators, randn
from dpnb.pipelines.loop_parts import LoopParts


class EncodingLoopParts(LoopParts):
    """What a loop of one's own calls of a pipeline that encodes pictures."""

    @torch.no_grad()
    def _encode_vae_image(self, image: Tensor, generator: Generators) -> Tensor:
        """Latents of pictures, sampled and scaled, in their dtype."""
        pipe: Any = self
        latents: Tensor = pipe.encode_pictures(image, generator)
        return latents.to(image.dtype)

    def _encode_unless_latents(
        self, image: Tensor, dtype: torch.dtype, device: torch.device | str, generator: Generators
    ) -> Tensor:
        """Latents of pictures; what has the channels of latents is some already."""
        pipe: Any = self
        image = image.to(device, dtype)
        is_encoded = image.shape[1] == pipe.vae.config.latent_channels
        return image if is_encoded else self._encode_vae_image(image, generator)


class MaskLoopParts(EncodingLoopParts):
    """What a loop of one's own calls of a pipeline that draws a part of a picture anew."""

    @override
    def prepare_latents(  # type: ignore[override]
        self,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
        latents: Tensor | None = None,
        image: Tensor | None = None,
        timestep: Tensor | None = None,
        is_strength_max: bool = True,
        return_noise: bool = False,
        return_image_latents: bool = False,
    ) -> tuple[Tensor, ...]:
        """What a run begins with: noise alone, or the latents of a picture with noise.

        Args:
            batch_size: how many pictures are drawn.
            num_channels_latents: channels of their latents.
            height: of the pictures, in pixels.
            width: likewise.
            dtype: of the latents.
            device: where they are to be.
            generator: of the numbers; a list has one for each picture.
            latents: noise of variance one that is taken instead.
            image: the picture, or latents of one.
            timestep: whose noise it gets, `[1]`.
            is_strength_max: whether nothing of the picture is left.
            return_noise: return the noise too.
            return_image_latents: return the latents of the picture too.

        Returns:
            The latents, the noise and the picture's latents, as far as they are asked for.

        Raises:
            ValueError: something of the picture is to be left, and there is none.
        """
        shape = (batch_size, num_channels_latents, height, width)
        known, is_plain = None, latents is not None or is_strength_max
        if not is_strength_max and (image is None or timestep is None):
            raise ValueError(
                "with is_strength_max=False a run begins with a picture; give image and timestep."
            )
        if image is not None and (return_image_latents or not is_plain):
            known = self._encode_batch(image, batch_size, dtype, device, generator)
        noise = self._noise(shape, dtype, device, generator, latents)
        begun = noise * self.scheduler.init_noise_sigma
        if not is_plain:
            begun = self.scheduler.add_noise(known, noise, timestep)
        return _select(begun, noise, known, return_noise, return_image_latents)

    @torch.no_grad()
    def prepare_mask_latents(
        self,
        mask: Tensor,
        masked_image: Tensor | None,
        batch_size: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
        do_classifier_free_guidance: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """A mask in latents, and the latents of the rest of its picture.

        Args:
            mask: one where something is to be drawn.
            masked_image: the picture without that, or its latents.
            batch_size: how many pictures are drawn.
            height: of them, in pixels.
            width: likewise.
            dtype: of what is returned.
            device: where it is to be.
            generator: of the latents.
            do_classifier_free_guidance: return all entries twice.

        Returns:
            `[entries, 1, h, w]`, and `[entries, channels, h, w]`.
        """
        scale, looks = self.vae_scale_factor, 2 if do_classifier_free_guidance else 1
        small = F.interpolate(mask, size=(height // scale, width // scale)).to(device, dtype)
        small = torch.cat([fill_batch("mask", small, batch_size)] * looks)
        if masked_image is None:
            return small, None
        rest = self._encode_batch(masked_image, batch_size, dtype, device, generator)
        return small, torch.cat([rest] * looks)

    def _encode_batch(
        self,
        image: Tensor,
        count: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
    ) -> Tensor:
        """Latents of pictures, repeated to `count`."""
        latents = self._encode_unless_latents(image, dtype, device, generator)
        return fill_batch("image", latents, count)

    def _noise(
        self,
        shape: tuple[int, int, int, int],
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
        given: Tensor | None,
    ) -> Tensor:
        """Noise of variance one for pictures of this shape, whose sides are in pixels."""
        if given is not None:
            return given.to(device)
        count, channels, height, width = shape
        scale = self.vae_scale_factor
        size = (count, channels, int(height) // scale, int(width) // scale)
        return randn(size, generator=generator, device=torch.device(device), dtype=dtype)


class XLMaskLoopParts(MaskLoopParts):
    """What a loop of one's own calls of one of Stable Diffusion XL."""

    @override
    def prepare_latents(  # type: ignore[override]
        self,
        batch_size: int,
        num_channels_latents: int,
        height: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str,
        generator: Generators,
        latents: Tensor | None = None,
        image: Tensor | None = None,
        timestep: Tensor | None = None,
        is_strength_max: bool = True,
        add_noise: bool = True,
        return_noise: bool = False,
        return_image_latents: bool = False,
    ) -> tuple[Tensor, ...]:
        """As `MaskLoopParts.prepare_latents`; without `add_noise` the picture's latents alone.

        Raises:
            ValueError: something of the picture is to be left, and there is none.
        """
        place = (batch_size, num_channels_latents, height, width, dtype, device, generator)
        if add_noise:
            return super().prepare_latents(
                *place,
                latents,
                image,
                timestep,
                is_strength_max,
                return_noise,
                return_image_latents,
            )
        if image is None:
            raise ValueError("without add_noise a run begins with a picture's latents; give image.")
        known = self._encode_batch(image, batch_size, dtype, device, generator)
        noise = self._noise(place[:4], dtype, device, generator, None)
        return _select(known, noise, known, return_noise, return_image_latents)


class InstructionLoopParts(LoopParts):
    """What a loop of one's own calls of a pipeline that follows instructions."""

    @torch.no_grad()
    def prepare_image_latents(
        self,
        image: Tensor,
        batch_size: int,
        num_images_per_prompt: int,
        dtype: torch.dtype,
        device: torch.device | str,
        do_classifier_free_guidance: bool,
        generator: Generators = None,
    ) -> Tensor:
        """What the network sees of a picture beside the latents: means that are not scaled.

        Args:
            image: the picture, or what the network is to see.
            batch_size: how many prompts.
            num_images_per_prompt: pictures of each.
            dtype: of the picture.
            device: where it is to be.
            do_classifier_free_guidance: return them twice, and zeros after that.
            generator: has no effect: nothing is drawn.

        Returns:
            `[entries, channels, h, w]`.
        """
        pipe: Any = self
        image = image.to(device, dtype)
        if image.shape[1] != pipe.vae.config.latent_channels:
            image = pipe.encode_picture_means(image)
        image = self._scale_means(fill_batch("image", image, batch_size * num_images_per_prompt))
        if not do_classifier_free_guidance:
            return image
        return torch.cat((image, image, torch.zeros_like(image)))

    def _scale_means(self, means: Tensor) -> Tensor:
        return means


def fill_batch(name: str, batch: Tensor, count: int) -> Tensor:
    """`batch` repeated to `count` entries, or as it is where it has as many or more.

    Args:
        name: what the message calls it.
        batch: `[entries, channels, h, w]`.
        count: how many there must be.

    Raises:
        ValueError: that is no multiple of those that there are.
    """
    if len(batch) >= count:
        return batch
    if count % len(batch):
        raise ValueError(
            f"{name} has {len(batch)} entries for {count} pictures; give one, or a number that "
            f"divides {count}."
        )
    return batch.repeat(count // len(batch), 1, 1, 1)


def _select(
    latents: Tensor, noise: Tensor, known: Tensor | None, with_noise: bool, with_known: bool
) -> tuple[Tensor, ...]:
    """What is asked for, in order."""
    chosen = [latents, *([noise] if with_noise else [])]
    if with_known:
        if known is None:
            raise ValueError("return_image_latents asks for a picture's latents; give image.")
        chosen.append(known)
    return tuple(chosen)
