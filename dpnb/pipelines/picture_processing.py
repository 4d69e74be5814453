"""How pictures go into a run and come out of it, where a caller has a say in that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from dpnb.pipelines.foreign.image_processor import VaeImageProcessor
from dpnb.pipelines.pictures.images import postprocess
from dpnb.pipelines.pictures.inputs import Pictures


class PictureProcessing:
    """A pipeline whose `image_processor` may be replaced."""

    _image_processor: Any = None

    @property
    def vae_scale_factor(self) -> int:
        """Pixels per latent, along one side."""
        raise NotImplementedError

    @property
    def image_processor(self) -> Any:
        """What turns pictures into tensors and back: that which was set, or the usual one."""
        given = self._image_processor
        return VaeImageProcessor(vae_scale_factor=self.vae_scale_factor) if given is None else given

    @image_processor.setter
    def image_processor(self, processor: Any) -> None:
        self._image_processor = processor

    def show(
        self, pictures: Tensor, output_type: str, are_signed: Sequence[bool] | None = None
    ) -> Any:
        """Decoded pictures in the form that a run returns.

        Args:
            pictures: `[batch, channels, height, width]` in [-1, 1].
            output_type: `"pil"`, `"np"` or `"pt"`.
            are_signed: `False` for entries that are in [0, 1] already.
        """
        if self._image_processor is None:
            return postprocess(pictures, output_type, are_signed)
        return self._image_processor.postprocess(
            pictures, output_type=output_type, do_denormalize=are_signed
        )

    def read_pictures(self, pictures: Pictures, height: int, width: int) -> Tensor:
        """The pictures that a run begins with, `[pictures, 3, height, width]` in [-1, 1]."""
        if self._image_processor is None:
            return pictures.image(height, width)
        given = pictures.content if isinstance(pictures.content, Tensor) else [*pictures.content]
        read: Tensor = self._image_processor.preprocess(given, height, width)
        return read
