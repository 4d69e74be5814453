"""Pictures in the size and the format in which a browser shows them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence

from PIL import Image, ImageSequence, features


def lay_out_images(images: Sequence[Image.Image]) -> Image.Image:
    """One picture of pictures of the same size, side by side in rows."""
    if len(images) == 1:
        return images[0]
    columns = math.ceil(math.sqrt(len(images)))
    width, height = images[0].size
    rows = math.ceil(len(images) / columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for place, image in enumerate(images):
        sheet.paste(image, (place % columns * width, place // columns * height))
    return sheet


def encode_png(image: Image.Image, quick: bool = False) -> bytes:
    """A PNG file; `quick` compresses it less."""
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1 if quick else 4)
    return file.getvalue()


def make_thumbnail(image: Image.Image, side: int) -> Image.Image:
    """The picture with at most `side` pixels along each edge."""
    small = image.copy()
    small.thumbnail((side, side))
    return small


def encode_animation(frames: Sequence[Image.Image], rate: float) -> bytes:
    """A WebP file that shows one frame after the other, for ever; GIF where WebP is missing.

    Args:
        frames: of the same size.
        rate: frames in one second.
    """
    file = io.BytesIO()
    kind = "WEBP" if features.check("webp") else "GIF"
    first, *others = (frame.convert("RGB") for frame in frames)
    first.save(file, kind, save_all=True, append_images=others, duration=round(1000 / rate), loop=0)
    return file.getvalue()


def count_frames(animation: bytes) -> int:
    """How many frames a file has."""
    with Image.open(io.BytesIO(animation)) as opened:
        return 1 + max(_places(opened))


def find_frame(animation: bytes, index: int) -> Image.Image:
    """One frame of a file, from 0."""
    with Image.open(io.BytesIO(animation)) as opened:
        opened.seek(index)
        frame: Image.Image = opened.convert("RGB")
    return frame


def animation_kind(animation: bytes) -> str:
    """The ending of a file's name: `"webp"` or `"gif"`."""
    return "gif" if animation.startswith(b"GIF") else "webp"


def _places(opened: Image.Image) -> Iterator[int]:
    """The frames that can be sought, by their places."""
    yield from (frame.tell() for frame in ImageSequence.Iterator(opened))
