"""Pictures in and out of an autoencoder, as scripts and community pipelines ask for it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from PIL.Image import Image, Resampling
from PIL.ImageFilter import GaussianBlur
from torch import Tensor
from torch.nn.functional import interpolate

from dpnb.pipelines.foreign.declared import DeclaredSettings, register_to_config
from dpnb.pipelines.pictures.crops import Region, resize_and_crop, resize_and_fill
from dpnb.pipelines.pictures.images import check_output_type, numpy_to_pil
from dpnb.pipelines.pictures.inputs import Pictures

MODES = ("default", "fill", "crop")
"""How pictures may be brought to a size."""

FILTERS = {name.lower(): name for name in Resampling.__members__} | {"linear": "BILINEAR"}
"""PIL's filters, by the names that scripts give them."""


class VaeImageProcessor(DeclaredSettings):
    """Turns pictures into tensors `[batch, channels, height, width]` in [-1, 1], and back.

    Args:
        do_resize: make height and width multiples of `vae_scale_factor`.
        vae_scale_factor: pixels per latent, along one side.
        vae_latent_channels: a tensor with so many channels is one of latents.
        resample: PIL's name for the filter.
        reducing_gap: PIL's, for a quicker scaling of large pictures.
        do_normalize: map [0, 1] to [-1, 1].
        do_binarize: make every number 0 or 1.
        do_convert_rgb: make every picture RGB first.
        do_convert_grayscale: make every picture grey.

    Raises:
        ValueError: pictures are to be both in colour and grey, or PIL has no such filter.
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
        do_convert_rgb: bool = False,
        do_convert_grayscale: bool = False,
    ) -> None:
        if do_convert_rgb and do_convert_grayscale:
            raise ValueError(
                "do_convert_rgb and do_convert_grayscale exclude each other; set one of them."
            )
        if resample not in FILTERS:
            raise ValueError(f"resample is {resample!r}; PIL has {', '.join(FILTERS)}.")

    def preprocess(
        self,
        image: Any,
        height: int | None = None,
        width: int | None = None,
        resize_mode: str = "default",
        crops_coords: tuple[int, int, int, int] | None = None,
    ) -> Tensor:
        """Pictures as the autoencoder takes them.

        Args:
            image: one picture or a list of them; see `Pictures.parse`. Latents stay as they are.
                Transparency is left out, and grey pictures have one channel however they are
                resized; diffusers makes channels of either.
            height: in pixels; the picture's own by default.
            width: likewise.
            resize_mode: see `resize`.
            crops_coords: the part of PIL's pictures that is taken: left, top, right, bottom.
        """
        are_masks = self.do_convert_grayscale and not _lists_pictures(image)
        pictures = Pictures.parse("image", image, is_mask=are_masks)
        holds_latents = pictures.may_be_latents and pictures.channels == self.vae_latent_channels
        if isinstance(pictures.content, Tensor) and holds_latents:
            return pictures.content
        if crops_coords is not None and not isinstance(pictures.content, Tensor):
            cropped = tuple(one.crop(crops_coords) for one in pictures.content)
            pictures = replace(pictures, content=cropped)
        pictures = pictures.opaque()
        size = pictures.size
        if self.do_resize:
            size = self._floor(height or size[0], width or size[1])
        fit = partial(self.resize, height=size[0], width=size[1], resize_mode=resize_mode)
        batch = pictures.levels(self._mode(pictures), fit if self.do_resize else _as_it_is, size)
        if self.do_normalize and not bool(batch.min() < 0):
            batch = self.normalize(batch)
        return self.binarize(batch) if self.do_binarize else batch

    def __getattr__(self, name: str) -> Any:
        """The setting of this name."""
        config: Any = vars(self).get("config", {})
        if name not in config:
            raise AttributeError(f"{type(self).__name__} has no {name}.")
        return config[name]

    def _floor(self, height: int, width: int) -> tuple[int, int]:
        unit: int = self.vae_scale_factor
        return height // unit * unit, width // unit * unit

    def get_default_height_width(
        self, image: Any, height: int | None = None, width: int | None = None
    ) -> tuple[int, int]:
        """Height and width of a picture, or those that are asked for, in whole latents.

        Args:
            image: a PIL picture, an array `[pictures, height, width, ...]`, or a tensor `[pictures,
                channels, height, width]`.
            height: in pixels.
            width: likewise.
        """
        if isinstance(image, Image):
            own = (image.height, image.width)
        else:
            own = tuple(image.shape[2:4] if isinstance(image, Tensor) else image.shape[1:3])
        return self._floor(height or own[0], width or own[1])

    def resize(self, image: Any, height: int, width: int, resize_mode: str = "default") -> Any:
        """A picture at another size.

        Args:
            image: a PIL picture, an array `[pictures, height, width, channels]` or a tensor
                `[pictures, channels, height, width]`, of which the nearest numbers are taken.
            height: in pixels.
            width: likewise.
            resize_mode: of a PIL picture: `"default"` scales it, `"fill"` keeps its shape and fills
                what is missing, `"crop"` keeps it and cuts what is too much.

        Raises:
            ValueError: there is no such mode, or not for arrays and tensors.
        """
        if resize_mode not in MODES or (resize_mode != "default" and not isinstance(image, Image)):
            raise ValueError(
                f"resize_mode is {resize_mode!r}; PIL's pictures may be resized by "
                f"{', '.join(map(repr, MODES))}, arrays and tensors by 'default'."
            )
        if isinstance(image, Tensor):
            return interpolate(image, size=(height, width))
        if isinstance(image, np.ndarray):
            return self.pt_to_numpy(interpolate(self.numpy_to_pt(image), size=(height, width)))
        if resize_mode == "default":
            filter_ = Resampling[FILTERS[self.resample]]
            return image.resize((width, height), filter_, reducing_gap=self.reducing_gap)
        fit = resize_and_fill if resize_mode == "fill" else resize_and_crop
        return fit(image, height, width, FILTERS[self.resample])

    @staticmethod
    def binarize(image: Tensor) -> Tensor:
        """One where numbers are at least a half, else zero."""
        return (image >= 0.5).to(image.dtype)

    @staticmethod
    def blur(image: Image, blur_factor: int = 4) -> Image:
        """A picture blurred by a Gaussian of this radius, in pixels."""
        return image.filter(GaussianBlur(blur_factor))

    @staticmethod
    def convert_to_rgb(image: Image) -> Image:
        """A picture in colour."""
        return image.convert("RGB")

    @staticmethod
    def convert_to_grayscale(image: Image) -> Image:
        """A picture in grey."""
        return image.convert("L")

    @staticmethod
    def get_crop_region(
        mask_image: Image, width: int, height: int, pad: int = 0
    ) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of what holds everything white; see `Region.around`.

        Args:
            mask_image: black where nothing changes.
            width: of the picture that the region will be scaled to, in pixels.
            height: likewise.
            pad: pixels about what is white.
        """
        return Region.around(mask_image, pad, height, width).box

    @staticmethod
    def apply_overlay(
        mask: Image,
        init_image: Image,
        image: Image,
        crop_coords: tuple[int, int, int, int] | None = None,
    ) -> Image:
        """What was drawn, where the mask is white, over the picture to begin with.

        Args:
            mask: of the picture.
            init_image: the picture.
            image: what was drawn, of all of it or of a part.
            crop_coords: left, top, right and bottom of that part.
        """
        whole = (0, 0, image.width, image.height)
        return Region(*(crop_coords or whole)).paste(image, init_image, mask)

    def _mode(self, pictures: Pictures) -> str:
        is_drawn = not isinstance(pictures.content, Tensor)
        is_grey = is_drawn and all(one.mode in ("1", "L") for one in pictures.content)
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
        output_type = "np" if output_type == "numpy" else output_type
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
    def normalize(images: Any) -> Any:
        """[0, 1] to [-1, 1]."""
        return 2.0 * images - 1.0

    @staticmethod
    def denormalize(images: Any) -> Any:
        """[-1, 1] to [0, 1]."""
        return (images * 0.5 + 0.5).clip(0, 1)

    @staticmethod
    def numpy_to_pt(images: np.ndarray[Any, Any]) -> Tensor:
        """Channels before height and width; of three axes, the channels are left out."""
        batch = images[..., None] if images.ndim == 3 else images
        return torch.from_numpy(batch.transpose(0, 3, 1, 2))

    @staticmethod
    def pil_to_numpy(images: Image | list[Image]) -> np.ndarray[Any, Any]:
        """Pictures of one size as numbers in [0, 1], `[pictures, height, width, channels]`."""
        batch = images if isinstance(images, list) else [images]
        return np.stack([np.asarray(one, dtype=np.float32) / 255.0 for one in batch])

    @staticmethod
    def pt_to_numpy(images: Tensor) -> np.ndarray[Any, Any]:
        """Channels last, on the host."""
        array: np.ndarray[Any, Any] = images.cpu().permute(0, 2, 3, 1).float().numpy()
        return array

    @staticmethod
    def numpy_to_pil(images: np.ndarray[Any, Any]) -> list[Image]:
        """See `dpnb.pipelines.pictures.images.numpy_to_pil`."""
        return numpy_to_pil(images)


def _lists_pictures(image: Any) -> bool:
    """Whether there is a list of tensors `[channels, height, width]`, and not of masks."""
    return isinstance(image, list) and all(
        isinstance(one, Tensor) and one.ndim == 3 for one in image
    )


def _as_it_is(picture: Image) -> Image:
    return picture
