"""Endless pairs of picture and caption, each drawn from the seed and its own number."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from typing_extensions import override

from dpnb.emoji.captions import Wording, Writer, words_of
from dpnb.emoji.concepts import Concept
from dpnb.emoji.grammar import word_list
from dpnb.emoji.layout import Variety, arrange, choose_shade
from dpnb.emoji.pictures import (
    BACKGROUNDS,
    PAINTS,
    Icon,
    characters,
    composite,
    place,
    render,
    shade,
    tint,
)
from dpnb.emoji.scenes import Generator, Scene, Shares, choose_scene


@dataclass(frozen=True)
class Habits:
    """How often scenes, their wording and their look depart from the plain.

    Attributes:
        shares: of the kinds of scenes.
        wording: of captions.
        variety: of placements and shades.
    """

    shares: Shares = field(default_factory=Shares)
    wording: Wording = field(default_factory=Wording)
    variety: Variety = field(default_factory=Variety)

    def times(self, amount: float) -> "Habits":
        """`amount` of the departures in scenes and look, from 0 to 1; the wording stays."""
        return Habits(self.shares.times(amount), self.wording, self.variety.times(amount))


@dataclass(frozen=True)
class Curriculum:
    """How a stream of samples grows harder, by their numbers; by default all is there at once.

    Few things in one place are learnt soon, after which the others are told apart much faster
    than from nothing: Bengio et al. (2009), "Curriculum learning".

    Attributes:
        first_concepts: concepts, from the beginning of the list, that the stream begins with.
        all_concepts: sample from which on all of them are drawn.
        plain: sample up to which nothing departs from the plain thing in the middle.
        all_habits: sample from which on everything departs as often and as far as it may.
    """

    first_concepts: int = 1
    all_concepts: int = 0
    plain: int = 0
    all_habits: int = 0

    def concepts(self, number: int, count: int) -> int:
        """How many of `count` concepts the sample `number` is chosen from."""
        first = min(self.first_concepts, count)
        return first + round((count - first) * rise(number, 0, self.all_concepts))

    def departures(self, number: int) -> float:
        """From 0 to 1, how much of the habits the sample `number` shows."""
        return rise(number, self.plain, self.all_habits)


class Samples(IterableDataset[tuple[Tensor, str]]):
    """Pairs (picture (3, 64, 64) in [-1, 1], caption), without end.

    Args:
        concepts: what may be drawn.
        habits: scenes, wordings, placements.
        seed: with the sample's number it decides everything.
        start: the first sample's number.
        stride: distance between numbers; `stride` data sets with starts 0, 1, ... share a stream.
        curriculum: what the first of them leave out.
    """

    def __init__(
        self,
        concepts: tuple[Concept, ...],
        habits: Habits,
        seed: int,
        start: int = 0,
        stride: int = 1,
        curriculum: Curriculum | None = None,
    ) -> None:
        self.concepts, self.habits = concepts, habits
        self.curriculum = curriculum or Curriculum()
        self.seed, self.start, self.stride = seed, start, stride
        canvases = render([concept.name for concept in concepts])
        self.icons = {name: Icon.of(canvas) for name, canvas in canvases.items()}
        self.weights = np.array([concept.weight for concept in concepts])
        names = [name for concept in concepts for name in (concept.name, *concept.others)]
        strangers = words_of(characters()) - words_of(names) - set(word_list("fillers"))
        self.writer = Writer(
            habits.wording, word_list("fillers"), tuple(sorted(strangers)), frozenset(names)
        )

    @override
    def __iter__(self) -> Iterator[tuple[Tensor, str]]:
        info = get_worker_info()
        first, count = (0, 1) if info is None else (info.id, info.num_workers)
        for number in itertools.count(self.start + self.stride * first, self.stride * count):
            yield self.draw(number)

    def draw(self, number: int) -> tuple[Tensor, str]:
        """The sample of that number."""
        rng, habits = self.begin(number)
        scene, caption = self.draw_caption(number, habits, rng)
        return self.picture(scene, habits.variety, rng), caption

    def begin(self, number: int) -> tuple[Generator, Habits]:
        """What decides the sample of that number, and how far it may depart from the plain."""
        departures = self.curriculum.departures(number)
        return np.random.default_rng((self.seed, number)), self.habits.times(departures)

    def draw_caption(self, number: int, habits: Habits, rng: Generator) -> tuple[Scene, str]:
        """What to show, and the words for it."""
        count = self.curriculum.concepts(number, len(self.concepts))
        odds = self.weights[:count] / self.weights[:count].sum()
        scene = choose_scene(self.concepts[:count], odds, habits.shares, rng)
        return scene, self.writer.write(scene, rng)

    def picture(self, scene: Scene, variety: Variety, rng: Generator) -> Tensor:
        """A picture (3, 64, 64) of `scene`; things that are there several times share a shade."""
        icons = [self.icons[thing.concept.name] for thing in scene.things]
        shades = [choose_shade(variety, rng) for _ in icons]
        layers = []
        for number, placement in enumerate(arrange(scene, [i.extent for i in icons], variety, rng)):
            which = number % len(icons)
            layer, colour = place(icons[which], placement), scene.things[which].colour
            layers.append(shade(tint(layer, PAINTS[colour]) if colour else layer, shades[which]))
        return torch.from_numpy(composite(layers, BACKGROUNDS[scene.background]))

    def draw_captions(self, count: int) -> list[str]:
        """The first `count` captions of the stream, without their pictures."""
        return list(islice(self.captions(), count))

    def captions(self) -> Iterator[str]:
        """Those of the stream, without their pictures."""
        for number in itertools.count(self.start, self.stride):
            rng, habits = self.begin(number)
            yield self.draw_caption(number, habits, rng)[1]


def load_batches(
    samples: Samples, batch: int, processes: int = 0
) -> Iterator[tuple[Tensor, list[str]]]:
    """Batches (pictures (batch, 3, 64, 64), captions), prepared by so many processes."""
    loader = DataLoader(samples, batch_size=batch, num_workers=processes)
    for pictures, captions in loader:
        yield pictures, list(captions)


def rise(number: int, start: int, end: int) -> float:
    """From 0 at `start` to 1 at `end`, in a straight line."""
    return 1.0 if number >= end else max(0.0, (number - start) / (end - start))
