"""Pictures of emoji: rendered from a font, placed, coloured, and laid on a background.

A picture is a float array (height, width, 4) in [0, 1] whose colours are premultiplied by alpha.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import cos, radians, sin, sqrt
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture: TypeAlias = NDArray[np.float32]
Colour: TypeAlias = tuple[int, int, int]

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONT_SIZE = 109
CANVAS = 136
LEVELS = (136, 100, 76, 56, 42, 32)
SIZE = 64
UNASSIGNED = "\U0010fffd"
"""A sign that no font draws."""
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

PAINTS: dict[str, Colour] = {
    "red": (226, 38, 38),
    "orange": (245, 130, 20),
    "yellow": (252, 208, 40),
    "green": (52, 168, 67),
    "blue": (40, 105, 225),
    "purple": (140, 62, 200),
    "pink": (245, 125, 180),
    "brown": (135, 85, 50),
    "black": (52, 52, 56),
    "grey": (150, 153, 158),
}
BACKGROUNDS: dict[str, Colour] = {
    "white": (255, 255, 255),
    "red": (229, 57, 53),
    "orange": (255, 152, 0),
    "yellow": (255, 224, 60),
    "green": (67, 160, 71),
    "blue": (30, 100, 230),
    "purple": (130, 50, 180),
    "pink": (248, 150, 200),
    "brown": (120, 78, 55),
    "grey": (158, 158, 158),
    "black": (0, 0, 0),
}


@dataclass(frozen=True)
class Placement:
    """Where a picture lies on its canvas.

    Attributes:
        scale: size relative to the whole canvas.
        shift: to the right and down, in canvas widths.
        degrees: rotation, counter-clockwise.
        is_mirrored: left and right change places.
    """

    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    degrees: float = 0.0
    is_mirrored: bool = False


@dataclass(frozen=True)
class Shade:
    """A slight change of all colours of a picture.

    Attributes:
        hue: degrees on the circle of colours.
        light: share of whitening; below zero of darkening.
    """

    hue: float = 0.0
    light: float = 0.0


@dataclass(frozen=True)
class Icon:
    """A picture of the font, ready to be placed.

    Attributes:
        levels: square canvases in mode `RGBa`, each smaller than the one before.
        extent: width and height of what is drawn on them, in canvas widths.
    """

    levels: tuple[Image.Image, ...]
    extent: tuple[float, float]

    @classmethod
    def of(cls, canvas: Image.Image) -> "Icon":
        """An icon whose canvas is shrunk several times, so that placing it costs little."""
        left, top, right, bottom = canvas.getbbox() or (0, 0, 1, 1)
        levels = tuple(
            canvas
            if width == canvas.width
            else canvas.resize((width, width), Image.Resampling.LANCZOS)
            for width in LEVELS
        )
        return cls(levels, ((right - left) / canvas.width, (bottom - top) / canvas.width))


def characters() -> dict[str, str]:
    """CLDR short name → the emoji itself, for every fully-qualified emoji. Needs `emoji`."""
    from emoji import EMOJI_DATA, STATUS

    return {
        entry["en"].strip(":").replace("_", " "): character
        for character, entry in EMOJI_DATA.items()
        if entry["status"] == STATUS["fully_qualified"]
    }


def render(names: Iterable[str], font: Path = FONT) -> dict[str, Image.Image]:
    """Name → its emoji in `font`, centred on a square canvas of 136 x 136, mode `RGBa`.

    Raises:
        FileNotFoundError: the font is not installed.
        ValueError: a name is unknown.
    """
    typeface = _load_typeface(font)
    known = characters()
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"No emoji is called {', '.join(unknown)}; use English CLDR short names.")
    return {name: _draw(known[name], typeface) for name in names}


def find_drawn(names: Iterable[str], font: Path = FONT) -> list[str]:
    """Those of `names` that `font` draws, each as one picture and unlike those before it."""
    typeface = _load_typeface(font)
    known = characters()
    seen = {_draw_tight(UNASSIGNED, typeface).tobytes()}
    found = []
    for name in names:
        drawn = _draw_tight(known[name], typeface)
        if drawn.tobytes() not in seen and drawn.width <= CANVAS:
            seen.add(drawn.tobytes())
            found.append(name)
    return found


def _load_typeface(font: Path) -> ImageFont.FreeTypeFont:
    if not font.exists():
        raise FileNotFoundError(
            f"{font} is missing; install the Debian package fonts-noto-color-emoji, or name "
            "another colour font."
        )
    return ImageFont.truetype(str(font), FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)


def _draw_tight(character: str, typeface: ImageFont.FreeTypeFont) -> Image.Image:
    sheet = Image.new("RGBA", (4 * CANVAS, 2 * CANVAS))
    ImageDraw.Draw(sheet).text((20, 20), character, font=typeface, embedded_color=True)
    return sheet.crop(sheet.getbbox())


def _draw(character: str, typeface: ImageFont.FreeTypeFont) -> Image.Image:
    drawn = _draw_tight(character, typeface)
    canvas = Image.new("RGBA", (CANVAS, CANVAS))
    canvas.paste(drawn, ((CANVAS - drawn.width) // 2, (CANVAS - drawn.height) // 2))
    return canvas.convert("RGBa")


def place(icon: Icon, placement: Placement, size: int = SIZE) -> Picture:
    """`icon`, moved by `placement`, in a picture of `size` pixels.

    It starts from the smallest canvas that has a pixel for each of the picture's.
    """
    wanted = placement.scale * size
    canvas = next((c for c in reversed(icon.levels) if c.width >= wanted), icon.levels[0])
    ratio = canvas.width / wanted
    cosine, sine = (ratio * f(radians(placement.degrees)) for f in (cos, sin))
    mirror = -1 if placement.is_mirrored else 1
    rows = ((mirror * cosine, -mirror * sine), (sine, cosine))
    target = [size * (0.5 + shift) for shift in placement.shift]
    affine = [
        value
        for row in rows
        for value in (*row, canvas.width / 2 - row[0] * target[0] - row[1] * target[1])
    ]
    moved = canvas.transform((size, size), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
    picture: Picture = np.asarray(moved, dtype=np.float32) / np.float32(255)
    return picture


def tint(picture: Picture, colour: Colour) -> Picture:
    """`picture` in shades of `colour`: black stays black, its middle tone becomes the colour.

    Lights turn to whiter shades, so that eyes, windows and reflections stay visible.
    """
    alpha = picture[..., 3:]
    solid = alpha[..., 0] > 0.5
    luma = (picture[..., :3] / np.maximum(alpha, 1e-3)).clip(0, 1) @ LUMA
    middle = float(np.median(luma[solid])) if solid.any() else 0.5
    middle = min(max(middle, 0.3), 0.78)
    paint = np.array(colour, dtype=np.float32) / 255
    dark = np.clip(luma / middle, 0, 1)[..., None]
    light = np.clip((luma - middle) / (1 - middle), 0, 1)[..., None] * 0.85
    shades = paint * (0.1 + 0.9 * dark) * (1 - light) + light
    return np.concatenate([shades * alpha, alpha], axis=-1).astype(np.float32)


def shade(picture: Picture, change: Shade) -> Picture:
    """`picture` in slightly other colours; greys keep their hue."""
    alpha = picture[..., 3:]
    colours = picture[..., :3] @ turn_hue(change.hue)
    if change.light > 0:
        colours = colours + (alpha - colours) * change.light
    else:
        colours = colours * (1 + change.light)
    return np.concatenate([colours.clip(0, alpha), alpha], axis=-1).astype(np.float32)


def turn_hue(degrees: float) -> NDArray[np.float32]:
    """The matrix (3, 3) that turns colours about the axis of greys."""
    angle = radians(degrees)
    axis = np.full((3, 3), (1 - cos(angle)) / 3)
    cross = np.array([[0, 1, -1], [-1, 0, 1], [1, -1, 0]]) * sin(angle) / sqrt(3)
    return (axis + cross + np.eye(3) * cos(angle)).astype(np.float32)


def composite(pictures: Iterable[Picture], background: Colour) -> NDArray[np.float32]:
    """`pictures`, each over the one before, on a `background`: (3, height, width) in [-1, 1]."""
    flat: NDArray[np.float32] = np.array(background, dtype=np.float32) / np.float32(255)
    for picture in pictures:
        flat = picture[..., :3] + (1 - picture[..., 3:]) * flat
    return np.ascontiguousarray(flat.clip(0, 1).transpose(2, 0, 1) * 2 - 1)
