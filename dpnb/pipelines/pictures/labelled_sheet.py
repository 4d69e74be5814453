"""Pictures in rows and columns, with words beside each row and above each column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

SMALLEST, LARGEST = 160, 512
"""Of the longer side of a picture on a sheet, in pixels; labels need the room."""

GAP = 12
FONT_SIZE = 14
LINE_HEIGHT = 18
WIDEST_LABEL = 180
"""Of what stands beside a row, in pixels."""

MOST_LINES = 5
"""Of a label above a column, and of the title."""

INK, PAPER, ABSENT = "#24292f", "#ffffff", "#eaeef2"
FONT = "fonts/ttf/DejaVuSans.ttf"
"""That of matplotlib, which writes Latin, Greek, Cyrillic and more."""

MORE = "…"


def draw_sheet(
    pictures: Sequence[Sequence[Image | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str = "",
) -> Image:
    """One picture of a grid of pictures.

    Args:
        pictures: row by row, as many in each; `None` leaves a cell empty. They are scaled by one
            factor, so that the longer side of the largest has 160 to 512 pixels.
        rows: what to write beside each row; where all are empty no room is left for them.
        columns: what to write above each column.
        title: what to write above all.
    """
    from PIL import Image, ImageDraw

    font = _load_font()
    width, height, scale = _measure(pictures)
    beside = [list(wrap_text(one, font, WIDEST_LABEL, height // LINE_HEIGHT)) for one in rows]
    above = [list(wrap_text(one, font, width, MOST_LINES)) for one in columns]
    widest = max(_width(line, font) for lines in beside for line in lines or [""])
    left = GAP + (widest + GAP if widest else 0)
    total = left + len(columns) * (width + GAP)
    heading = list(wrap_text(title, font, total - 2 * GAP, MOST_LINES))
    header = _height_of(heading)
    top = GAP + header + _height_of(max(above, key=len))
    sheet = Image.new("RGB", (total, top + len(rows) * (height + GAP)), PAPER)
    pen = ImageDraw.Draw(sheet)
    _write(pen, heading, GAP, GAP, font)
    for column, lines in enumerate(above):
        shift = _height_of(max(above, key=len)) - _height_of(lines)
        _write(pen, lines, left + column * (width + GAP), GAP + header + shift, font)
    for row, (lines, cells) in enumerate(zip(beside, pictures, strict=True)):
        y = top + row * (height + GAP)
        middle = y + (height - LINE_HEIGHT * len(lines)) // 2
        _write(pen, lines, GAP, middle, font)
        for column, picture in enumerate(cells):
            _paste(sheet, picture, left + column * (width + GAP), y, (width, height), scale)
    return sheet


def wrap_text(text: str, font: FreeTypeFont, width: int, most: int) -> Iterator[str]:
    """The lines of a text that fit a width, words broken where they do not.

    Args:
        text: what to write.
        font: in which it is measured.
        width: in pixels.
        most: lines, at least one; the last one ends in `…` where more would follow.
    """
    lines = _wrap(text, font, width)
    if len(lines) <= most:
        yield from lines
        return
    yield from lines[: max(most, 1) - 1]
    last = lines[max(most, 1) - 1]
    while last and _width(last + MORE, font) > width:
        last = last[:-1]
    yield last.rstrip() + MORE


def _wrap(text: str, font: FreeTypeFont, width: int) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _width(longer, font) <= width:
            lines[-1] = longer
        else:
            lines += _break_word(word, font, width)
    return lines


def _break_word(word: str, font: FreeTypeFont, width: int) -> Iterator[str]:
    """A word in parts that fit, of one character at least."""
    start = 0
    for end in range(1, len(word) + 1):
        if end - start > 1 and _width(word[start:end], font) > width:
            yield word[start : end - 1]
            start = end - 1
    yield word[start:]


def _measure(pictures: Sequence[Sequence[Image | None]]) -> tuple[int, int, float]:
    """Width and height of a cell in pixels, and the factor by which pictures are scaled."""
    sizes = [one.size for row in pictures for one in row if one is not None]
    width = max((size[0] for size in sizes), default=SMALLEST)
    height = max((size[1] for size in sizes), default=SMALLEST)
    longer = max(width, height)
    scale = min(max(longer, SMALLEST), LARGEST) / longer
    return max(round(width * scale), 1), max(round(height * scale), 1), scale


def _paste(
    sheet: Image, picture: Image | None, x: int, y: int, size: tuple[int, int], scale: float
) -> None:
    """Put a picture into the middle of its cell."""
    from PIL import Image

    if picture is None:
        sheet.paste(ABSENT, (x, y, x + size[0], y + size[1]))
        return
    target = (max(round(picture.width * scale), 1), max(round(picture.height * scale), 1))
    method = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    scaled = picture.convert("RGB").resize(target, method)
    sheet.paste(scaled, (x + (size[0] - target[0]) // 2, y + (size[1] - target[1]) // 2))


def _write(pen: object, lines: Sequence[str], x: int, y: int, font: FreeTypeFont) -> None:
    from PIL import ImageDraw

    assert isinstance(pen, ImageDraw.ImageDraw)
    for number, line in enumerate(lines):
        pen.text((x, y + LINE_HEIGHT * number), line, fill=INK, font=font)


def _height_of(lines: Sequence[str]) -> int:
    return LINE_HEIGHT * len(lines) + (GAP // 2 if lines else 0)


def _width(text: str, font: FreeTypeFont) -> int:
    return -int(-font.getlength(text) // 1)


def _load_font() -> FreeTypeFont:
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(mpl.get_data_path()) / FONT), FONT_SIZE)
