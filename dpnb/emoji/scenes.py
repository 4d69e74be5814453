"""What a picture shows: one thing, two, the same thing several times, and where and how large."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from dpnb.emoji.concepts import Concept
from dpnb.emoji.grammar import may_be_counted

COLOURS = {
    "red": 3,
    "orange": 2,
    "yellow": 3,
    "green": 3,
    "blue": 3,
    "purple": 2,
    "pink": 2,
    "brown": 1,
    "black": 2,
    "grey": 1,
}
BACKGROUNDS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "grey", "black")

Generator: TypeAlias = np.random.Generator
Numbers = TypeVar("Numbers", bound=Any)


class Size(Enum):
    """How large the only thing is."""

    ANY = "any"
    SMALL = "small"
    BIG = "big"


class Place(Enum):
    """Where the only thing is."""

    ANYWHERE = "anywhere"
    LEFT = "left"
    RIGHT = "right"
    TOP = "top"
    BOTTOM = "bottom"


@dataclass(frozen=True)
class Thing:
    """One thing in a picture.

    Attributes:
        concept: what it is.
        colour: the paint it is tinted with; none keeps its own colours.
    """

    concept: Concept
    colour: str | None = None


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    Attributes:
        things: one, or two different ones from left to right.
        count: how often the only thing is there.
        size: of the only thing.
        place: of the only thing.
        background: what everything lies on; white is not mentioned as a rule.
    """

    things: tuple[Thing, ...]
    count: int = 1
    size: Size = Size.ANY
    place: Place = Place.ANYWHERE
    background: str = "white"


@dataclass(frozen=True)
class Shares:
    """How often a picture departs from one plain thing on white.

    Attributes:
        pair: two different things side by side.
        several: two or three of the same thing.
        placed: on the left, on the right, at the top or at the bottom.
        sized: small or big.
        colour: tinted; shapes and hearts are tinted twice as often.
        background: on a coloured background.
    """

    pair: float = 0.2
    several: float = 0.08
    placed: float = 0.06
    sized: float = 0.06
    colour: float = 0.22
    background: float = 0.2

    def times(self, amount: float) -> "Shares":
        """`amount` of each, from 0 to 1."""
        return scaled(self, amount)


def choose_scene(
    concepts: Sequence[Concept], odds: NDArray[np.float64], shares: Shares, rng: Generator
) -> Scene:
    """A scene of some of `concepts`, each of which is as likely as `odds` say.

    Paints and background differ. What cannot be counted is shown once.
    """
    first, second = (concepts[n] for n in rng.choice(len(concepts), 2, replace=False, p=odds))
    background = "white"
    if rng.random() < shares.background:
        background = str(rng.choice(BACKGROUNDS))
    thing = paint(first, shares, background, rng)
    scene = Scene((thing,), background=background)
    draw = rng.random()
    if draw < shares.pair:
        return replace(scene, things=(thing, paint(second, shares, background, rng)))
    draw -= shares.pair
    if draw < shares.several:
        is_countable = may_be_counted(first.name)
        return replace(scene, count=int(rng.choice([2, 3]))) if is_countable else scene
    draw -= shares.several
    if draw < shares.placed:
        places = [place for place in Place if place is not Place.ANYWHERE]
        return replace(scene, place=places[rng.integers(len(places))])
    if draw - shares.placed < shares.sized:
        return replace(scene, size=(Size.SMALL, Size.BIG)[rng.integers(2)])
    return scene


def paint(concept: Concept, shares: Shares, background: str, rng: Generator) -> Thing:
    """`concept` in a colour other than the background's, or in its own colours."""
    if rng.random() >= shares.colour * (2 if is_shape(concept) else 1):
        return Thing(concept)
    colours = [colour for colour in COLOURS if colour != background]
    odds = np.array([COLOURS[colour] for colour in colours], dtype=float)
    return Thing(concept, str(rng.choice(colours, p=odds / odds.sum())))


def is_shape(concept: Concept) -> bool:
    """Whether its colour is nearly all there is to see of it."""
    shapes = {"heart", "circle", "square", "triangle", "diamond", "star", "balloon", "book"}
    return not shapes.isdisjoint(concept.bare_names)


def scaled(numbers: Numbers, amount: float) -> Numbers:
    """A dataclass of numbers, each times `amount`."""
    changed = {one.name: getattr(numbers, one.name) * amount for one in fields(numbers)}
    scaled_numbers: Numbers = replace(numbers, **changed)
    return scaled_numbers
