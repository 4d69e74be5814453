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


class Samples(IterableDataset[tuple[Tensor, str]]):
    """Pairs (picture (3, 64, 64) in [-1, 1], caption), without end.

    Args:
        concepts: what may be drawn.
        habits: scenes, wordings, placements.
        seed: with the sample's number it decides everything.
        start: the first sample's number.
        stride: distance between numbers; `stride` data sets with starts 0, 1, ... share a stream.
    """

    def __init__(
        self,
        concepts: tuple[Concept, ...],
        habits: Habits,
        seed: int,
        start: int = 0,
        stride: int = 1,
    ) -> None:
        self.concepts, self.habits = concepts, habits
        self.seed, self.start, self.stride = seed, start, stride
        canvases = render([concept.name for concept in concepts])
        self.icons = {name: Icon.of(canvas) for name, canvas in canvases.items()}
        weights = np.array([concept.weight for concept in concepts])
        self.odds = weights / weights.sum()
        names = [name for concept in concepts for name in (concept.name, *concept.others)]
        strangers = words_of(characters()) - words_of(names) - set(word_list("fillers"))
        self.writer = Writer(
            habits.wording, word_list("fillers"), tuple(sorted(strangers)), frozenset(names)
        )

    @override
    def __iter__(self) -> Iterator[tuple[Tensor, str]]:
        info = get_worker_info()
        first, count = (0, 1) if info is None else (info.id, info.num_workers)
        number = self.start + self.stride * first
        while True:
            yield self.draw(np.random.default_rng((self.seed, number)))
            number += self.stride * count

    def draw(self, rng: Generator) -> tuple[Tensor, str]:
        """One pair."""
        scene, caption = self.draw_caption(rng)
        return self.picture(scene, rng), caption

    def draw_caption(self, rng: Generator) -> tuple[Scene, str]:
        """What to show, and the words for it."""
        scene = choose_scene(self.concepts, self.odds, self.habits.shares, rng)
        return scene, self.writer.write(scene, rng)

    def picture(self, scene: Scene, rng: Generator) -> Tensor:
        """A picture (3, 64, 64) of `scene`; things that are there several times share a shade."""
        variety = self.habits.variety
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
            yield self.draw_caption(np.random.default_rng((self.seed, number)))[1]


def load_batches(
    samples: Samples, batch: int, processes: int = 0
) -> Iterator[tuple[Tensor, list[str]]]:
    """Batches (pictures (batch, 3, 64, 64), captions), prepared by so many processes."""
    loader = DataLoader(samples, batch_size=batch, num_workers=processes)
    for pictures, captions in loader:
        yield pictures, list(captions)
