"""Where the things of a scene lie, and how much of that is left to chance."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np

from dpnb.emoji.pictures import Placement, Shade
from dpnb.emoji.scenes import Generator, Place, Scene, Size, scaled

FULL = 0.97
"""The size of a thing that fills the picture, relative to the canvas."""

UNMIRRORED = re.compile(
    r"\b(left|right|arrow|clock|watch|stopwatch|question|exclamation|musical|score|keycap|points"
    r"|place medal|calendar|ZZZ|8 ball|quarter|store|hotel|hospital|post|postbox|tickets?|stop"
    r"|newspaper|slot|e-mail|map|globe|mahjong|envelope|symbols|yin|badge|check|chart|memo"
    r"|recycling|banknote|money|keyboard|pager|taxi|police|ambulance|camera"
    r"|page|bank|dollar|receipt|card|infinity|label|x-ray)\b"
)
"""Words in names of pictures that are wrong in a mirror: text, digits, directions, notes."""

ROWS = {
    2: (((-0.25, 0.0), (0.25, 0.0)),),
    3: (
        ((0.0, -0.24), (-0.25, 0.24), (0.25, 0.24)),
        ((-0.25, -0.24), (0.25, -0.24), (0.0, 0.24)),
    ),
}
"""For so many things: where their middles are, right and down of the picture's, in its widths."""

SIZES = {2: 0.5, 3: 0.47}
DIRECTIONS = {
    Place.LEFT: (-1, 0),
    Place.RIGHT: (1, 0),
    Place.TOP: (0, -1),
    Place.BOTTOM: (0, 1),
}
SMALL, PLACED = 0.42, 0.58


@dataclass(frozen=True)
class Variety:
    """How far pictures of one scene differ; by default not at all.

    Attributes:
        shift: share of the room beside a thing that it may move by.
        shrink: at most, of the size of a thing without a named size; others vary by a quarter.
        degrees: at most, either way.
        mirrored: how often left and right change places, for pictures that allow it.
        hue: degrees on the circle of colours, at most, either way.
        light: at most, share of darkening or of whitening.
    """

    shift: float = 0.0
    shrink: float = 0.0
    degrees: float = 0.0
    mirrored: float = 0.0
    hue: float = 0.0
    light: float = 0.0

    def times(self, amount: float) -> "Variety":
        """`amount` of it, from 0 to 1."""
        return scaled(self, amount)


ALL_VARIETY = Variety(shift=0.55, shrink=0.34, degrees=12.0, mirrored=0.5, hue=9.0, light=0.12)


def arrange(
    scene: Scene, extents: Sequence[tuple[float, float]], variety: Variety, rng: Generator
) -> list[Placement]:
    """Placements of everything in `scene`.

    Args:
        scene: what is there.
        extents: width and height of each thing at full size, in canvas widths.
        variety: what is left to chance.
        rng: decides.
    """
    count = max(scene.count, len(scene.things))
    if count == 1:
        return [_place_single(scene, extents[0], variety, rng)]
    rows = ROWS[count][rng.integers(len(ROWS[count])) if variety.shift else 0]
    placements = []
    for number, middle in enumerate(rows):
        thing, extent = scene.things[number % len(scene.things)], extents[number % len(extents)]
        scale = SIZES[count] * (1 - rng.uniform(0, variety.shrink) / 4)
        turn = _turn(thing.concept.name, variety, rng)
        room = _room(extent, scale, turn.degrees)
        jitter = rng.uniform(-0.1, 0.1, 2) * variety.shift * (0.3, 1.0 if count == 2 else 0.4)
        right, down = (
            max(-most, min(most, at + by))
            for at, by, most in zip(middle, jitter, room, strict=True)
        )
        placements.append(Placement(scale, (right, down), turn.degrees, turn.is_mirrored))
    return placements


def choose_shade(variety: Variety, rng: Generator) -> Shade:
    """A little of another hue, and lighter or darker."""
    hue, light = rng.uniform(-1, 1, 2) * (variety.hue, variety.light)
    return Shade(float(hue), float(light))


def may_mirror(name: str) -> bool:
    """Whether the picture of that name is as good in a mirror."""
    return UNMIRRORED.search(name) is None


def _place_single(
    scene: Scene, extent: tuple[float, float], variety: Variety, rng: Generator
) -> Placement:
    shrink = variety.shrink
    is_placed = scene.place is not Place.ANYWHERE
    if is_placed or scene.size is not Size.ANY:
        shrink /= 4
    largest = {Size.ANY: PLACED if is_placed else FULL, Size.SMALL: SMALL, Size.BIG: 1.04}
    scale = largest[scene.size] * (1 - float(rng.uniform(0, shrink)))
    turn = _turn(scene.things[0].concept.name, variety, rng)
    room = _room(extent, scale, turn.degrees)
    chance = rng.uniform(-1, 1, 2) * variety.shift
    if is_placed:
        side = np.array(DIRECTIONS[scene.place])
        chance = np.where(side, side * (1 - 0.25 * abs(chance)), 0.25 * chance)
    right, down = (float(by) * most for by, most in zip(chance, room, strict=True))
    return Placement(scale, (right, down), turn.degrees, turn.is_mirrored)


def _turn(name: str, variety: Variety, rng: Generator) -> Placement:
    degrees = float(rng.uniform(-variety.degrees, variety.degrees))
    is_mirrored = bool(rng.random() < variety.mirrored) and may_mirror(name)
    return Placement(degrees=degrees, is_mirrored=is_mirrored)


def _room(extent: tuple[float, float], scale: float, degrees: float) -> tuple[float, float]:
    """How far a thing's middle may be right and down of the picture's without leaving it."""
    width, height = (scale * side for side in extent)
    cosine, sine = abs(cos(radians(degrees))), abs(sin(radians(degrees)))
    across, along = width * cosine + height * sine, width * sine + height * cosine
    return max(0.0, (1 - across) / 2), max(0.0, (1 - along) / 2)
