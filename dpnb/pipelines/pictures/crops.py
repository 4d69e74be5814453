"""The part of a picture around its mask: to crop it, and to paste what was drawn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture, in pixels.

    Args:
        left: its first column.
        top: its first row.
        right: the column behind it.
        bottom: the row below it.
    """

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom."""
        return self.left, self.top, self.right, self.bottom

    @classmethod
    def around(cls, mask: Image, padding: int, height: int, width: int) -> Region:
        """What holds everything white, and `padding` pixels about it, in the shape of a picture.

        Args:
            mask: black where nothing changes.
            padding: in pixels.
            height: of the picture that the region will be scaled to.
            width: likewise.

        Raises:
            ValueError: nothing is white.
        """
        box = mask.convert("L").getbbox()
        if box is None:
            raise ValueError(
                "mask_image is black everywhere, so that padding_mask_crop finds nothing to cut "
                "out; make something of it white."
            )
        left, right = max(box[0] - padding, 0), min(box[2] + padding, mask.width)
        top, bottom = max(box[1] - padding, 0), min(box[3] + padding, mask.height)
        if (right - left) / (bottom - top) > width / height:
            top, bottom = _lengthen(top, bottom, (right - left) / (width / height), mask.height)
        else:
            left, right = _lengthen(left, right, (bottom - top) * (width / height), mask.width)
        return cls(left, top, right, bottom)

    def crop(self, picture: Image, height: int, width: int) -> Image:
        """The region of `picture` at another size; what is missing at two sides is filled."""
        return resize_and_fill(picture.crop(self.box), height, width)

    def paste(self, drawn: Image, picture: Image, mask: Image) -> Image:
        """`picture` with what was drawn of this part, where `mask` is white."""
        from PIL import Image

        placed = Image.new("RGBA", picture.size)
        placed.paste(resize_and_crop(drawn, self.height, self.width), (self.left, self.top))
        below = placed.convert("RGB").convert("RGBA")
        below.alpha_composite(_erase_masked(picture, mask))
        return below.convert("RGB")


def _lengthen(start: int, stop: int, extent: float, limit: int) -> tuple[int, int]:
    """`start` and `stop` further apart, about their middle and as far as there is room."""
    missing = int(extent - (stop - start))
    start -= missing // 2
    stop += missing - missing // 2
    beyond = max(stop - limit, 0)
    start, stop = start - beyond, stop - beyond
    before = max(-start, 0)
    return start + before, min(stop + before, limit)


def resize_and_fill(picture: Image, height: int, width: int, resample: str = "lanczos") -> Image:
    """The whole of `picture`, in the middle; its outermost rows or columns fill the rest.

    Args:
        picture: to be scaled.
        height: in pixels.
        width: likewise.
        resample: PIL's name for the filter.
    """
    inner, (left, top) = _resize_centred(picture, height, width, resample, covers=False)
    whole = _paste_on_canvas(inner, (left, top), height, width)
    if top > 0:
        for edge, place in ((0, 0), (inner.height, top + inner.height)):
            stretched = inner.resize((width, top), box=(0, edge, width, edge))
            whole.paste(stretched, (0, place))
    elif left > 0:
        for edge, place in ((0, 0), (inner.width, left + inner.width)):
            stretched = inner.resize((left, height), box=(edge, 0, edge, height))
            whole.paste(stretched, (place, 0))
    return whole


def resize_and_crop(picture: Image, height: int, width: int, resample: str = "lanczos") -> Image:
    """The middle of `picture`, as much as the size has room for; see `resize_and_fill`."""
    inner, place = _resize_centred(picture, height, width, resample, covers=True)
    return _paste_on_canvas(inner, place, height, width)


def _resize_centred(
    picture: Image, height: int, width: int, resample: str, *, covers: bool
) -> tuple[Image, tuple[int, int]]:
    """`picture` scaled to cover the size or to fit into it, and where it then is."""
    from PIL.Image import Resampling

    is_wider = picture.width / picture.height > width / height
    by_width = is_wider != covers
    size = (
        width if by_width else picture.width * height // picture.height,
        picture.height * width // picture.width if by_width else height,
    )
    scaled = picture.resize(size, Resampling[resample.upper()])
    return scaled, (width // 2 - scaled.width // 2, height // 2 - scaled.height // 2)


def _paste_on_canvas(picture: Image, place: tuple[int, int], height: int, width: int) -> Image:
    from PIL import Image

    canvas = Image.new("RGB", (width, height))
    canvas.paste(picture, place)
    return canvas


def _erase_masked(picture: Image, mask: Image) -> Image:
    """`picture`, and transparent where `mask` is white."""
    from PIL import Image, ImageOps

    kept = Image.new("RGBa", picture.size)
    kept.paste(picture.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask.convert("L")))
    return kept.convert("RGBA")
