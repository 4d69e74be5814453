"""How pictures go into a run and come out of it, where a caller has a say in that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from torch import Tensor

from dpnb.pipelines.foreign.image_processor import VaeImageProcessor
from dpnb.pipelines.pictures.crops import Region
from dpnb.pipelines.pictures.images import postprocess
from dpnb.pipelines.pictures.inputs import Fit, Pictures, make_resize


@dataclass(frozen=True)
class Processor:
    """What turns pictures into tensors and back, as a pipeline keeps it.

    Args:
        content: the object itself.
        usual: what the object held when the pipeline made it; `None` for one that was set.
    """

    content: Any
    usual: Mapping[str, Any] | None = None

    @property
    def decides(self) -> bool:
        """Whether runs must ask it: it was set, or changed since it was made."""
        return self.usual is None or vars(self.content) != self.usual


class PictureProcessing:
    """A pipeline whose `image_processor` and `mask_processor` may be replaced."""

    resample: ClassVar[str] = "lanczos"
    """PIL's filter, where pictures are scaled."""

    _image_processor: Processor | None = None
    _mask_processor: Processor | None = None

    @property
    def _pixels_per_entry(self) -> int:
        """Pixels, along one side, for each entry of what the network is given."""
        raise NotImplementedError

    @property
    def _latent_channels(self) -> int:
        """Of a latent."""
        raise NotImplementedError

    @property
    def image_processor(self) -> Any:
        """What turns pictures into tensors and back: that which was set, or the usual one."""
        if self._image_processor is None:
            self._image_processor = self._make_processor()
        return self._image_processor.content

    @image_processor.setter
    def image_processor(self, processor: Any) -> None:
        self._image_processor = None if processor is None else Processor(processor)

    @property
    def mask_processor(self) -> Any:
        """What turns masks into tensors: that which was set, or the usual one."""
        if self._mask_processor is None:
            self._mask_processor = self._make_processor(
                do_normalize=False, do_binarize=True, do_convert_grayscale=True
            )
        return self._mask_processor.content

    @mask_processor.setter
    def mask_processor(self, processor: Any) -> None:
        self._mask_processor = None if processor is None else Processor(processor)

    def _make_processor(self, **settings: Any) -> Processor:
        made = VaeImageProcessor(
            vae_scale_factor=self._pixels_per_entry,
            vae_latent_channels=self._latent_channels,
            resample=self.resample,
            **settings,
        )
        return Processor(made, {**vars(made)})

    def preprocess(
        self, pictures: Pictures, height: int, width: int, region: Region | None = None
    ) -> Tensor:
        """The pictures that a run begins with, `[pictures, 3, height, width]` in [-1, 1].

        Args:
            pictures: in any form.
            height: in pixels.
            width: likewise.
            region: the part of PIL's pictures that is taken; all of them by default.
        """
        processor = self._image_processor
        if processor is None or not processor.decides:
            fit = _make_fit(height, width, region) or make_resize(height, width, self.resample)
            return pictures.image(height, width, fit)
        return _preprocess(processor.content, pictures, height, width, region)

    def preprocess_mask(
        self, mask: Pictures, height: int, width: int, region: Region | None = None
    ) -> Tensor:
        """The masks of a run, `[masks, 1, height, width]`: one where something is to be drawn.

        Args:
            mask: in any form.
            height: in pixels.
            width: likewise.
            region: the part of PIL's pictures that is taken; all of them by default.
        """
        processor = self._mask_processor
        if processor is None or not processor.decides:
            return mask.mask(height, width, _make_fit(height, width, region))
        return _preprocess(processor.content, mask, height, width, region)

    def postprocess(
        self, pictures: Tensor, output_type: str, are_signed: Sequence[bool] | None = None
    ) -> Any:
        """Decoded pictures in the form that a run returns.

        Args:
            pictures: `[batch, channels, height, width]` in [-1, 1].
            output_type: `"pil"`, `"np"` or `"pt"`.
            are_signed: `False` for entries that are in [0, 1] already.
        """
        processor = self._image_processor
        if processor is None or not processor.decides:
            return postprocess(pictures, output_type, are_signed)
        return processor.content.postprocess(
            pictures, output_type=output_type, do_denormalize=are_signed
        )


def _make_fit(height: int, width: int, region: Region | None) -> Fit | None:
    """What brings the region of a picture to this size; `None` where all of it is taken."""
    return None if region is None else partial(region.crop, height=height, width=width)


def _preprocess(
    processor: Any, pictures: Pictures, height: int, width: int, region: Region | None
) -> Tensor:
    """What a caller's own processor makes of pictures."""
    content = pictures.content
    cropped = {} if region is None else {"resize_mode": "fill", "crops_coords": region.box}
    made: Tensor = processor.preprocess(
        content if isinstance(content, Tensor) else [*content], height, width, **cropped
    )
    return made
