"""Where two pictures differ, as a picture with a scale.

The colours are matplotlib's magma, whose lightness alone says the value: they are read in grey, and
by the colour-blind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dpnb.fidelity.scores import Map

TOPS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Where a scale may end."""

SMALLEST = 256
"""Pixels along the shorter side of a heat map; a smaller picture is enlarged by a whole number."""

FONT_SIZE, STRIP, MARGIN, BAR = 13, 34, 8, 9
"""In pixels: of letters, and of what stands below the map."""

PAPER, INK = "#101014", "#ffffff"


def choose_top(maps: Sequence[Map]) -> float:
    """The least value at which a scale may end that all of these reach at most."""
    most = max(float(one.max()) for one in maps)
    return next((top for top in TOPS if most <= top), 1.0)


def draw_heat_map(values: Map, top: float) -> Image.Image:
    """A map of errors with its scale below, black where nothing differs.

    Args:
        values: `[height, width]`, from 0.
        top: the value that has the lightest colour, as larger ones have.
    """
    times = max(-(-SMALLEST // min(values.shape)), 1)
    drawn = _colour(values.repeat(times, axis=0).repeat(times, axis=1) / top)
    sheet = Image.new("RGB", (drawn.width, drawn.height + STRIP), PAPER)
    sheet.paste(drawn, (0, 0))
    wide = drawn.width - 2 * MARGIN
    ramp = _colour(np.broadcast_to(np.linspace(0, 1, wide, dtype=np.float32), (BAR, wide)))
    sheet.paste(ramp, (MARGIN, drawn.height + 6))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_SIZE)
    line = drawn.height + STRIP - 5
    for x, text, anchor in (
        (MARGIN, "0", "ls"),
        (drawn.width // 2, "FLIP", "ms"),
        (drawn.width - MARGIN, f"{top:g}", "rs"),
    ):
        pen.text((x, line), text, fill=INK, font=font, anchor=anchor)
    return sheet


def _colour(values: np.ndarray[Any, Any]) -> Image.Image:
    from matplotlib import colormaps

    colours = colormaps["magma"](values, bytes=True)
    return Image.fromarray(np.ascontiguousarray(colours[..., :3]))
