"""Several pictures and what they show, in one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dpnb.numbers import parse_int

if TYPE_CHECKING:
    from PIL import ImageFont
    from PIL.Image import Image

GAP = 12
LINE_HEIGHT = 17
FONT_SIZE = 14
INK = "#24292f"
PAPER = "#ffffff"


def contact_sheet(
    pictures: Sequence[Image], captions: Sequence[str], *, columns: int = 6, size: int = 128
) -> Image:
    """A grid of pictures, each above its caption.

    Args:
        pictures: at least one; they are scaled to fit `size`.
        captions: one for each, broken into as many lines as it needs.
        columns: pictures in a row.
        size: of a picture's cell, in pixels.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(FONT_SIZE)
    columns, size = parse_int("columns", columns, least=1), parse_int("size", size, least=1)
    columns = min(columns, len(pictures))
    lines = [_wrap(caption, font, size) for caption in captions]
    rows = [lines[i : i + columns] for i in range(0, len(lines), columns)]
    heights = [size + GAP + LINE_HEIGHT * max(map(len, row)) + GAP // 2 for row in rows]
    sheet = Image.new("RGB", (columns * (size + GAP) + GAP, sum(heights) + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    for index, (picture, caption) in enumerate(zip(pictures, lines, strict=True)):
        row, column = divmod(index, columns)
        x, y = GAP + column * (size + GAP), GAP + sum(heights[:row])
        scaled = _fit(picture, size)
        sheet.paste(scaled, (x + (size - scaled.width) // 2, y + size - scaled.height))
        for number, line in enumerate(caption):
            at = (x + size // 2, y + size + 4 + LINE_HEIGHT * number)
            pen.text(at, line, fill=INK, font=font, anchor="ma")
    return sheet


def _fit(picture: Image, size: int) -> Image:
    from PIL import Image

    scale = size / max(picture.size)
    target = (round(picture.width * scale), round(picture.height * scale))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return picture.convert("RGB").resize(target, method)


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
