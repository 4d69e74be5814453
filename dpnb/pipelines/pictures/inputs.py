"""The pictures that a call is given: which it takes, and the tensors that they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dpnb.pipelines.pictures.formats import normalize_mode, parse_array

if TYPE_CHECKING:
    from PIL.Image import Image

Fit: TypeAlias = "Callable[[Image], Image]"

LARGEST = 2.0
"""A number beyond it is none of a picture's, which are in [0, 1] or [-1, 1] and may overshoot."""

FORMS = "a PIL picture, an array, a tensor, or a list of one of these"


@dataclass(frozen=True)
class PictureInput:
    """A picture that a pipeline's call takes.

    Args:
        argument: its name in the call.
        label: for a person, in a word.
        hint: what it is for, in a few words.
        is_mask: whether it is one, white where something is to be drawn.
        is_optional: whether the call may do without it.
    """

    argument: str
    label: str
    hint: str
    is_mask: bool = False
    is_optional: bool = False

    def example(self, height: int, width: int) -> Image:
        """A made-up picture: a slope of grey, or a mask whose right half is white."""
        from PIL import Image

        slope = Image.linear_gradient("L").rotate(90).resize((width, height))
        return slope.point(lambda level: 255 * (level > 127)) if self.is_mask else slope


@dataclass(frozen=True, eq=False)
class Pictures:
    """One or more pictures of a call, all in one form.

    Args:
        name: of the argument that they came by.
        content: PIL's pictures, or a tensor `[pictures, channels, height, width]` of floating-point
            numbers, in which 8 bits are [0, 1].
        may_be_latents: whether all of it came as tensors of such numbers.
        is_bare: whether it came as one tensor of such numbers, in no list.
    """

    name: str
    content: tuple[Image, ...] | Tensor
    may_be_latents: bool = False
    is_bare: bool = False

    @classmethod
    def parse(cls, name: str, given: Any, *, is_mask: bool = False) -> Pictures:
        """What the argument `name` was given.

        Args:
            name: of the argument.
            given: a PIL picture; an array `[height, width, channels]` or `[pictures, height, width,
                channels]`; a tensor with its channels before height and width; a list of these.
                Of a mask, and of one grey picture, the channels may be left out. Whole numbers
                of 8 bits and truths are pictures in any number of channels, never latents.
            is_mask: whether it is one.

        Raises:
            TypeError: it is none of these.
            ValueError: the entries of a list do not go together, or there are none, or what their
                numbers mean is not known.
        """
        from PIL import Image

        entries = list(given) if isinstance(given, (list, tuple)) else [given]
        if not entries:
            raise ValueError(f"{name} is an empty list; give {FORMS}.")
        if all(isinstance(one, Image.Image) for one in entries):
            return cls(name, tuple(normalize_mode(name, one, is_mask=is_mask) for one in entries))
        if not all(isinstance(one, (np.ndarray, Tensor)) for one in entries):
            kinds = sorted({type(one).__name__ for one in entries})
            raise TypeError(
                f"{name} is of type {', '.join(kinds)}; give {FORMS}. A file is opened with "
                "PIL.Image.open."
            )
        batches = [parse_array(name, one, is_mask=is_mask) for one in entries]
        if len({batch.shape[1:] for batch in batches}) > 1:
            shapes = ", ".join(str(tuple(batch.shape[1:])) for batch in batches)
            raise ValueError(f"{name} holds pictures of different shapes, {shapes}; make them one.")
        content = torch.cat(batches) if len(batches) > 1 else batches[0]
        is_plain = all(isinstance(one, Tensor) and one.is_floating_point() for one in entries)
        return cls(name, content, is_plain, is_plain and isinstance(given, Tensor))

    def __len__(self) -> int:
        return len(self.content)

    @property
    def channels(self) -> int | None:
        """Of a tensor."""
        return self.content.shape[1] if isinstance(self.content, Tensor) else None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the first one."""
        if isinstance(self.content, Tensor):
            return self.content.shape[2], self.content.shape[3]
        return self.content[0].height, self.content[0].width

    @property
    def is_drawn(self) -> bool:
        """Whether these are PIL's."""
        return not isinstance(self.content, Tensor)

    def opaque(self) -> Pictures:
        """The same without transparency: the first channel of two, the first three of four.

        Raises:
            ValueError: there are four, and some numbers are negative, as latents have them.
        """
        if not isinstance(self.content, Tensor) or self.channels not in (2, 4):
            return self
        if bool(self.content.min() < 0):
            raise ValueError(
                f"{self.name} has {self.channels} channels and negative numbers, which no picture "
                "with transparency has; give latents as a tensor [pictures, channels, h, w]."
            )
        return replace(self, content=self.content[:, : self.channels - 1])

    def check_latents(self) -> None:
        """Refuse what may be latents or transparent pictures.

        Raises:
            ValueError: all numbers are in [0, 1].
        """
        if not isinstance(self.content, Tensor) or self.channels not in (3, 4):
            return
        least, most = (float(end) for end in torch.aminmax(self.content.float()))
        if least >= 0 and 0 < most <= 1:
            raise ValueError(
                f"{self.name} is a tensor of {self.channels} channels with numbers in [0, 1], and "
                "may hold colours or latents; give colours with three channels as a PIL picture or "
                "of dtype uint8, and latents as they come from encoding."
            )

    def check_count(self, pictures: int) -> None:
        """Refuse a number that does not go into that of the pictures that are drawn.

        Raises:
            ValueError: it does not.
        """
        if pictures % len(self):
            raise ValueError(
                f"{self.name} holds {len(self)} pictures for {pictures} that are drawn; give one, "
                "or as many as are drawn."
            )

    def check_levels(self) -> None:
        """Refuse a tensor whose numbers are levels of another kind.

        Raises:
            ValueError: they are.
        """
        self.check_finite()
        if not isinstance(self.content, Tensor):
            return
        most = float(self.content.abs().max())
        if most > LARGEST:
            remedy = (
                "divide them by 255, or use dtype uint8"
                if most <= 255
                else "divide them by the largest that they can be, 65535 with 16 bits"
            )
            raise ValueError(
                f"{self.name} holds numbers up to {most:g}; they must be in [0, 1], or whole "
                f"numbers of 8 bits: {remedy}."
            )

    def check_positive(self) -> None:
        """Refuse a tensor with negative numbers.

        Raises:
            ValueError: it is one.
        """
        if isinstance(self.content, Tensor) and bool(self.content.min() < 0):
            least = float(self.content.min())
            raise ValueError(
                f"{self.name} holds {least:g}; a mask is 1 where to draw and 0 where not, or has "
                "levels in [0, 1]."
            )

    def check_finite(self) -> None:
        """Refuse a tensor with NaN or infinity in it.

        Raises:
            ValueError: it is one.
        """
        if isinstance(self.content, Tensor) and not bool(self.content.isfinite().all()):
            raise ValueError(f"{self.name} holds NaN or infinity; give finite numbers.")

    def image(self, height: int, width: int, fit: Fit | None = None) -> Tensor:
        """Pictures in [-1, 1], `[pictures, 3, height, width]`; those in [0, 1] are mapped to it.

        Args:
            height: in pixels.
            width: likewise.
            fit: brings a PIL picture to that size; by default it is scaled.
        """
        levels = self.levels("RGB", fit or make_resize(height, width), (height, width))
        levels = levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels
        return levels if bool(levels.min() < 0) else 2.0 * levels - 1.0

    def mask(self, height: int, width: int, fit: Fit | None = None) -> Tensor:
        """One where something is to be drawn, else zero: `[pictures, 1, height, width]`.

        Args:
            height: in pixels.
            width: likewise.
            fit: brings a PIL picture to that size; by default it is scaled.
        """
        levels = self.levels("L", fit or make_resize(height, width), (height, width))
        return (levels >= 0.5).to(levels.dtype)

    def levels(self, mode: str, fit: Fit, size: tuple[int, int]) -> Tensor:
        """The numbers in the pictures, `[pictures, channels, height, width]`; 8 bits are [0, 1].

        Args:
            mode: of PIL's pictures: `"RGB"` or `"L"`.
            fit: brings a PIL picture to the size.
            size: height and width; of a tensor the nearest numbers are taken.
        """
        if isinstance(self.content, Tensor):
            return F.interpolate(self.content, size=size)
        fitted = (
            fit(one).convert("L") if mode == "L" else fit(one.convert(mode)) for one in self.content
        )
        array = np.stack([np.asarray(one, dtype=np.float32) / 255.0 for one in fitted])
        array = array[..., None] if array.ndim == 3 else array
        return torch.from_numpy(array).permute(0, 3, 1, 2)


def make_resize(height: int, width: int, resample: str = "lanczos") -> Fit:
    """A function that scales a picture to this size, with one of PIL's filters."""
    from PIL.Image import Resampling

    return lambda picture: picture.resize((width, height), Resampling[resample.upper()])


def repeat_batch(batch: Tensor, count: int) -> Tensor:
    """`batch` repeated to `count` entries, a multiple of those that it has."""
    return batch if len(batch) == count else batch.repeat(count // len(batch), 1, 1, 1)
