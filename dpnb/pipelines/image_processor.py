"""Pictures in and out of an autoencoder, as community pipelines ask for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL.Image import Image, Resampling
from torch import Tensor

from dpnb.pipelines.images import check_output_type, numpy_to_pil


class VaeImageProcessor:
    """Turns pictures into tensors `[batch, channels, height, width]` in [-1, 1], and back.

    Args:
        do_resize: make height and width multiples of `vae_scale_factor`.
        vae_scale_factor: pixels per latent, along one side.
        resample: PIL's name for the filter.
        do_normalize: map [0, 1] to [-1, 1].
        do_convert_rgb: make every picture RGB first.
        settings: others, which change nothing here.
    """

    def __init__(
        self,
        do_resize: bool = True,
        vae_scale_factor: int = 8,
        resample: str = "lanczos",
        do_normalize: bool = True,
        do_convert_rgb: bool = False,
        **settings: Any,
    ) -> None:
        self.do_resize = do_resize
        self.vae_scale_factor = vae_scale_factor
        self.resample = Resampling[resample.upper()]
        self.do_normalize = do_normalize
        self.do_convert_rgb = do_convert_rgb

    def preprocess(self, image: Any, height: int | None = None, width: int | None = None) -> Tensor:
        """Pictures as the autoencoder takes them.

        Args:
            image: one picture or a list of them: PIL, arrays `[height, width, channels]` in [0, 1],
                or a tensor `[batch, channels, height, width]`, which is not resized.
            height: in pixels; the picture's own by default.
            width: likewise.
        """
        pictures = image if isinstance(image, list) else [image]
        batch = torch.cat([self._tensor(one, height, width) for one in pictures])
        is_signed = bool(batch.min() < 0)
        return self.normalize(batch) if self.do_normalize and not is_signed else batch

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
        """See `dpnb.pipelines.images.numpy_to_pil`."""
        return numpy_to_pil(images)

    def _tensor(self, picture: Any, height: int | None, width: int | None) -> Tensor:
        if isinstance(picture, Tensor):
            return picture if picture.ndim == 4 else picture[None]
        if isinstance(picture, np.ndarray):
            levels = picture if picture.ndim == 4 else picture[None]
            return torch.from_numpy(levels).permute(0, 3, 1, 2)
        if self.do_convert_rgb or picture.mode not in ("RGB", "L"):
            picture = picture.convert("RGB")
        if self.do_resize:
            unit = self.vae_scale_factor
            size = (width or picture.width, height or picture.height)
            picture = picture.resize([side - side % unit for side in size], self.resample)
        array = np.asarray(picture, dtype=np.float32) / 255.0
        array = array[..., None] if array.ndim == 2 else array
        return torch.from_numpy(array).permute(2, 0, 1)[None]
