"""The pictures that a call is given: which it takes, and the tensors that they become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

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
    """

    argument: str
    label: str
    hint: str
    is_mask: bool = False

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
        content: PIL's pictures, or a tensor `[pictures, channels, height, width]`.
    """

    name: str
    content: tuple[Image, ...] | Tensor

    @classmethod
    def parse(cls, name: str, given: Any, *, is_mask: bool = False) -> Pictures:
        """What the argument `name` was given.

        Args:
            name: of the argument.
            given: a PIL picture; an array `[height, width, channels]` or `[pictures, height, width,
                channels]`; a tensor with its channels before height and width; a list of these.
                Of a mask the channels may be left out.
            is_mask: whether it is one.

        Raises:
            TypeError: it is none of these.
            ValueError: the entries of a list do not go together, or there are none.
        """
        from PIL import Image

        entries = list(given) if isinstance(given, (list, tuple)) else [given]
        if not entries:
            raise ValueError(f"{name} is an empty list; give {FORMS}.")
        if all(isinstance(one, Image.Image) for one in entries):
            return cls(name, tuple(entries))
        if not all(isinstance(one, (np.ndarray, Tensor)) for one in entries):
            kinds = sorted({type(one).__name__ for one in entries})
            raise TypeError(
                f"{name} is of type {', '.join(kinds)}; give {FORMS}. A file is opened with "
                "PIL.Image.open."
            )
        batches = [_batch(name, one, is_mask=is_mask) for one in entries]
        if len({batch.shape[1:] for batch in batches}) > 1:
            shapes = ", ".join(str(tuple(batch.shape[1:])) for batch in batches)
            raise ValueError(f"{name} holds pictures of different shapes, {shapes}; make them one.")
        return cls(name, torch.cat(batches) if len(batches) > 1 else batches[0])

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
        if isinstance(self.content, Tensor) and self.content.numel():
            most = float(self._numbers(self.content).abs().max())
            if most > LARGEST:
                raise ValueError(
                    f"{self.name} holds numbers up to {most:g}; they must be in [0, 1], or whole "
                    "numbers of 8 bits: divide them by 255, or use dtype uint8."
                )

    @staticmethod
    def _numbers(content: Tensor) -> Tensor:
        if content.dtype == torch.uint8:
            return content.float() / 255.0
        return content if content.is_floating_point() else content.float()

    def image(self, height: int, width: int, fit: Fit | None = None) -> Tensor:
        """Pictures in [-1, 1], `[pictures, 3, height, width]`; those in [0, 1] are mapped to it.

        Args:
            height: in pixels.
            width: likewise.
            fit: brings a PIL picture to that size; by default it is scaled.
        """
        levels = self.levels("RGB", fit or scaling(height, width), (height, width))
        levels = levels.expand(-1, 3, -1, -1) if levels.shape[1] == 1 else levels
        return levels if bool(levels.min() < 0) else 2.0 * levels - 1.0

    def mask(self, height: int, width: int, fit: Fit | None = None) -> Tensor:
        """One where something is to be drawn, else zero: `[pictures, 1, height, width]`.

        Args:
            height: in pixels.
            width: likewise.
            fit: brings a PIL picture to that size; by default it is scaled.
        """
        levels = self.levels("L", fit or scaling(height, width), (height, width))
        return (levels >= 0.5).to(levels.dtype)

    def levels(self, mode: str, fit: Fit, size: tuple[int, int]) -> Tensor:
        """The numbers in the pictures, `[pictures, channels, height, width]`; 8 bits are [0, 1].

        Args:
            mode: of PIL's pictures: `"RGB"` or `"L"`.
            fit: brings a PIL picture to the size.
            size: height and width; of a tensor the nearest numbers are taken.
        """
        if isinstance(self.content, Tensor):
            return F.interpolate(self._numbers(self.content), size=size)
        fitted = (
            fit(one).convert("L") if mode == "L" else fit(one.convert(mode)) for one in self.content
        )
        array = np.stack([np.asarray(one, dtype=np.float32) / 255.0 for one in fitted])
        array = array[..., None] if array.ndim == 3 else array
        return torch.from_numpy(array).permute(0, 3, 1, 2)


def scaling(height: int, width: int, resample: str = "lanczos") -> Fit:
    """What scales a picture to this size, with one of PIL's filters."""
    from PIL.Image import Resampling

    return lambda picture: picture.resize((width, height), Resampling[resample.upper()])


def tiled(batch: Tensor, count: int) -> Tensor:
    """`batch` again and again until it has `count` entries, which it must divide."""
    return batch if len(batch) == count else batch.repeat(count // len(batch), 1, 1, 1)


def _batch(name: str, given: Any, *, is_mask: bool) -> Tensor:
    """`[pictures, channels, height, width]`."""
    is_array = isinstance(given, np.ndarray)
    tensor: Tensor = torch.from_numpy(np.require(given, None, ["C", "W"])) if is_array else given
    if tensor.ndim == 3 and is_mask and not (is_array and tensor.shape[-1] == 1):
        return tensor[:, None]
    if tensor.ndim == 2:
        return tensor[None, None]
    if tensor.ndim not in (3, 4):
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}; a picture has height, width and channels."
        )
    batch = tensor if tensor.ndim == 4 else tensor[None]
    return batch.permute(0, 3, 1, 2) if is_array else batch
