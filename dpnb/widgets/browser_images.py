"""Pictures in the size and the format in which a browser shows them."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image


def make_image_grid(images: Sequence[Image.Image]) -> Image.Image:
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
    image.save(file, "PNG", compress_level=1 if quick else 6)
    return file.getvalue()


def make_thumbnail(image: Image.Image, side: int) -> Image.Image:
    """The picture with at most `side` pixels along each edge."""
    small = image.copy()
    small.thumbnail((side, side))
    return small
