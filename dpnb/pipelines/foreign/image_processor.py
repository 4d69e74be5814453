"""Pictures in and out of an autoencoder, as community pipelines ask for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL.Image import Image
from torch import Tensor

from dpnb.pipelines.pictures.images import check_output_type, numpy_to_pil
from dpnb.pipelines.pictures.inputs import Pictures, make_resize

LATENT_CHANNELS = 4
"""A tensor with so many channels is one of latents."""


class VaeImageProcessor:
    """Turns pictures into tensors `[batch, channels, height, width]` in [-1, 1], and back.

    Args:
        do_resize: make height and width multiples of `vae_scale_factor`.
        vae_scale_factor: pixels per latent, along one side.
        resample: PIL's name for the filter.
        do_normalize: map [0, 1] to [-1, 1].
        do_convert_rgb: make every picture RGB first.
        do_convert_grayscale: make every picture grey.
        do_binarize: make every number 0 or 1.
        settings: others, which change nothing here.
    """

    def __init__(
        self,
        do_resize: bool = True,
        vae_scale_factor: int = 8,
        resample: str = "lanczos",
        do_normalize: bool = True,
        do_convert_rgb: bool = False,
        do_convert_grayscale: bool = False,
        do_binarize: bool = False,
        **settings: Any,
    ) -> None:
        self.do_resize = do_resize
        self.vae_scale_factor = vae_scale_factor
        self.resample = resample
        self.do_normalize = do_normalize
        self.do_convert_rgb = do_convert_rgb
        self.do_convert_grayscale = do_convert_grayscale
        self.do_binarize = do_binarize

    def preprocess(self, image: Any, height: int | None = None, width: int | None = None) -> Tensor:
        """Pictures as the autoencoder takes them.

        Args:
            image: one picture or a list of them; see `Pictures.parse`. Latents stay as they are.
            height: in pixels; the picture's own by default.
            width: likewise.
        """
        pictures = Pictures.parse("image", image, is_mask=self.do_convert_grayscale)
        holds_latents = pictures.may_be_latents and pictures.channels == LATENT_CHANNELS
        if isinstance(pictures.content, Tensor) and holds_latents:
            return pictures.content
        pictures = pictures.opaque()
        size = pictures.size
        if self.do_resize:
            unit = self.vae_scale_factor
            asked = (height or size[0], width or size[1])
            size = (asked[0] // unit * unit, asked[1] // unit * unit)
        fit = make_resize(*size, self.resample) if self.do_resize else _as_it_is
        batch = pictures.levels(self._mode(pictures), fit, size)
        if self.do_normalize and not bool(batch.min() < 0):
            batch = self.normalize(batch)
        return (batch >= 0.5).to(batch.dtype) if self.do_binarize else batch

    def _mode(self, pictures: Pictures) -> str:
        is_drawn = not isinstance(pictures.content, Tensor)
        is_grey = is_drawn and all(one.mode == "L" for one in pictures.content)
        if self.do_convert_grayscale or (is_grey and not self.do_convert_rgb):
            return "L"
        return "RGB"

    def postprocess(
        self,
        image: Tensor,
        output_type: str = "pil",
        do_denormalize: list[bool] | None = None,
    ) -> Any:
        """What a pipeline returns for decoded pictures `[batch, channels, height, width]`.

        Args:
            image: the pictures, in [-1, 1].
            output_type: `"pil"`, `"np"`, `"pt"` or `"latent"`.
            do_denormalize: `False` for entries that are in [0, 1] already.
        """
        check_output_type(output_type)
        if output_type == "latent":
            return image
        wanted = do_denormalize or [self.do_normalize] * len(image)
        pairs = zip(image, wanted, strict=True)
        unit = torch.stack([self.denormalize(one) if signed else one for one, signed in pairs])
        if output_type == "pt":
            return unit
        array = self.pt_to_numpy(unit)
        return array if output_type == "np" else numpy_to_pil(array)

    @staticmethod
    def normalize(images: Tensor) -> Tensor:
        """[0, 1] to [-1, 1]."""
        return 2.0 * images - 1.0

    @staticmethod
    def denormalize(images: Tensor) -> Tensor:
        """[-1, 1] to [0, 1]."""
        return (images * 0.5 + 0.5).clamp(0, 1)

    @staticmethod
    def pt_to_numpy(images: Tensor) -> np.ndarray[Any, Any]:
        """Channels last, on the host."""
        array: np.ndarray[Any, Any] = images.cpu().permute(0, 2, 3, 1).float().numpy()
        return array

    @staticmethod
    def numpy_to_pil(images: np.ndarray[Any, Any]) -> list[Image]:
        """See `dpnb.pipelines.pictures.images.numpy_to_pil`."""
        return numpy_to_pil(images)


def _as_it_is(picture: Image) -> Image:
    return picture
