"""A picture and its mask in and out of an autoencoder, as scripts ask for both at once."""

from __future__ import annotations

from typing import Any, ClassVar

from PIL.Image import Image
from torch import Tensor

from dpnb.pipelines.foreign.declared import DeclaredSettings, register_to_config
from dpnb.pipelines.foreign.image_processor import VaeImageProcessor


class InpaintProcessor(DeclaredSettings):
    """Two `VaeImageProcessor`s, one for pictures and one for their masks.

    Args:
        do_resize: see there, as for the next ones.
        vae_scale_factor: pixels per latent, along one side.
        vae_latent_channels: a tensor with so many channels is one of latents.
        resample: PIL's name for the filter.
        reducing_gap: PIL's, for a quicker scaling of large pictures.
        do_normalize: map pictures from [0, 1] to [-1, 1].
        do_binarize: make every number of a picture 0 or 1.
        do_convert_grayscale: make every picture grey.
        mask_do_normalize: `do_normalize` for masks.
        mask_do_binarize: `do_binarize` for masks.
        mask_do_convert_grayscale: `do_convert_grayscale` for masks.
    """

    config_name: ClassVar[str] = "config.json"

    @register_to_config
    def __init__(
        self,
        do_resize: bool = True,
        vae_scale_factor: int = 8,
        vae_latent_channels: int = 4,
        resample: str = "lanczos",
        reducing_gap: int | None = None,
        do_normalize: bool = True,
        do_binarize: bool = False,
        do_convert_grayscale: bool = False,
        mask_do_normalize: bool = False,
        mask_do_binarize: bool = True,
        mask_do_convert_grayscale: bool = True,
    ) -> None:
        shared = (do_resize, vae_scale_factor, vae_latent_channels, resample, reducing_gap)
        self._pictures = VaeImageProcessor(
            *shared,
            do_normalize=do_normalize,
            do_binarize=do_binarize,
            do_convert_grayscale=do_convert_grayscale,
        )
        self._masks = VaeImageProcessor(
            *shared,
            do_normalize=mask_do_normalize,
            do_binarize=mask_do_binarize,
            do_convert_grayscale=mask_do_convert_grayscale,
        )

    def preprocess(
        self,
        image: Any,
        mask: Any = None,
        height: int | None = None,
        width: int | None = None,
        padding_mask_crop: int | None = None,
    ) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """The picture and the mask as the pipeline takes them, and what `postprocess` needs.

        Args:
            image: see `VaeImageProcessor.preprocess`.
            mask: white where something is to be drawn.
            height: in pixels; the picture's own by default.
            width: likewise.
            padding_mask_crop: take the part around the mask alone, with so many pixels about it.

        Raises:
            ValueError: there is a padding and no mask, or no size to scale the part to.
        """
        kept: dict[str, Any] = dict.fromkeys(("crops_coords", "original_image", "original_mask"))
        if padding_mask_crop is None:
            pictures = self._pictures.preprocess(image, height, width)
            masks = None if mask is None else self._masks.preprocess(mask, height, width)
            return pictures, masks, kept
        if mask is None or height is None or width is None:
            raise ValueError(
                f"padding_mask_crop is {padding_mask_crop}, which asks for a mask, height and "
                "width; pass all three, or leave it out."
            )
        box = self._pictures.get_crop_region(mask, width, height, pad=padding_mask_crop)
        kept = {"crops_coords": box, "original_image": image, "original_mask": mask}
        pictures, masks = (
            processor.preprocess(one, height, width, resize_mode="fill", crops_coords=box)
            for processor, one in ((self._pictures, image), (self._masks, mask))
        )
        return pictures, masks, kept

    def postprocess(
        self,
        image: Tensor,
        output_type: str = "pil",
        original_image: Image | None = None,
        original_mask: Image | None = None,
        crops_coords: tuple[int, int, int, int] | None = None,
    ) -> Any:
        """What a pipeline returns, pasted into the original picture if a part of it was drawn.

        Args:
            image: the pictures `[batch, channels, height, width]`, in [-1, 1].
            output_type: `"pil"`, `"np"`, `"pt"` or `"latent"`.
            original_image: the picture to begin with.
            original_mask: its mask.
            crops_coords: left, top, right and bottom of the part.

        Raises:
            ValueError: a part cannot be pasted, for want of a picture or as no PIL picture.
        """
        drawn = self._pictures.postprocess(image, output_type)
        if crops_coords is None:
            return drawn
        if original_image is None or original_mask is None or output_type != "pil":
            raise ValueError(
                "crops_coords asks for original_image and original_mask, into which PIL pictures "
                f'are pasted, and output_type is {output_type!r}; pass both, with "pil".'
            )
        paste = self._pictures.apply_overlay
        return [paste(original_mask, original_image, one, crops_coords) for one in drawn]
