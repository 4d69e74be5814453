"""Endless pairs of picture and caption, each drawn from the seed and its own number."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from typing_extensions import override

from dpnb.emoji.captions import Habits, Look, choose_look, word_list, words_of, write_caption
from dpnb.emoji.concepts import Concept
from dpnb.emoji.pictures import (
    BACKGROUNDS,
    PAINTS,
    Placement,
    characters,
    composite,
    place,
    render,
    tint,
)

UNMIRRORED = frozenset(
    {"hundred points", "keycap 7", "musical note", "red question mark", "alarm clock", "yin yang"}
)
SIZES = {"": 0.97, "small": 0.55, "big": 1.06}


@dataclass(frozen=True)
class Variety:
    """How far placements differ; by default not at all.

    Attributes:
        shift: at most, in canvas widths.
        shrink: at most, of the size.
        degrees: at most, either way.
        mirrored: how often left and right change places, for pictures that allow it.
        mirrored_from: only for concepts of at least this weight: the rarer ones are seen too
            seldom to be learnt twice.
    """

    shift: float = 0.0
    shrink: float = 0.0
    degrees: float = 0.0
    mirrored: float = 0.0
    mirrored_from: float = 2.0


class Samples(IterableDataset[tuple[Tensor, str]]):
    """Pairs (picture (3, 64, 64) in [-1, 1], caption), without end.

    Args:
        concepts: what may be drawn.
        habits: looks and wordings.
        variety: placements.
        seed: with the sample's number it decides everything.
        start: the first sample's number.
        stride: distance between numbers; `stride` data sets with starts 0, 1, ... share a stream.
    """

    def __init__(
        self,
        concepts: tuple[Concept, ...],
        habits: Habits,
        variety: Variety,
        seed: int,
        start: int = 0,
        stride: int = 1,
    ) -> None:
        self.concepts, self.habits, self.variety = concepts, habits, variety
        self.seed, self.start, self.stride = seed, start, stride
        self.icons: dict[str, Image.Image] = render([concept.name for concept in concepts])
        weights = np.array([concept.weight for concept in concepts])
        self.shares = weights / weights.sum()
        strangers = words_of(characters()) - words_of(
            name for concept in concepts for name in (concept.name, *concept.others)
        )
        self.strangers = tuple(sorted(strangers))

    @override
    def __iter__(self) -> Iterator[tuple[Tensor, str]]:
        info = get_worker_info()
        first, count = (0, 1) if info is None else (info.id, info.num_workers)
        number = self.start + self.stride * first
        while True:
            yield self.draw(np.random.default_rng((self.seed, number)))
            number += self.stride * count

    def draw(self, rng: np.random.Generator) -> tuple[Tensor, str]:
        """One pair."""
        concept, look, caption = self.draw_caption(rng)
        picture = place(self.icons[concept.name], self.choose_placement(concept, look.size, rng))
        if look.colour is not None:
            picture = tint(picture, PAINTS[look.colour])
        flat = composite(picture, BACKGROUNDS[look.background])
        return torch.from_numpy(flat), caption

    def draw_caption(self, rng: np.random.Generator) -> tuple[Concept, Look, str]:
        """What to show, how, and the words for it."""
        concept = self.concepts[rng.choice(len(self.concepts), p=self.shares)]
        look = choose_look(concept, self.habits, rng)
        is_strange = rng.random() < self.habits.stranger
        fillers = self.strangers if is_strange else word_list("fillers")
        return concept, look, write_caption(concept, look, self.habits, rng, fillers)

    def draw_captions(self, count: int) -> list[str]:
        """The first `count` captions of the stream, without their pictures."""
        numbers = range(self.start, self.start + count * self.stride, self.stride)
        draws = (self.draw_caption(np.random.default_rng((self.seed, n))) for n in numbers)
        return [caption for _, _, caption in draws]

    def choose_placement(self, concept: Concept, size: str, rng: np.random.Generator) -> Placement:
        """Near the middle and nearly upright, as far as the variety goes."""
        variety = self.variety
        may_mirror = concept.weight >= variety.mirrored_from and concept.name not in UNMIRRORED
        right, down = rng.uniform(-variety.shift, variety.shift, 2)
        return Placement(
            scale=SIZES[size] * (1 - float(rng.uniform(0, variety.shrink))),
            shift=(float(right), float(down)),
            degrees=float(rng.uniform(-variety.degrees, variety.degrees)),
            is_mirrored=may_mirror and bool(rng.random() < variety.mirrored),
        )


def load_batches(
    samples: Samples, batch: int, processes: int = 0
) -> Iterator[tuple[Tensor, list[str]]]:
    """Batches (pictures (batch, 3, 64, 64), captions), prepared by so many processes."""
    loader = DataLoader(samples, batch_size=batch, num_workers=processes)
    for pictures, captions in loader:
        yield pictures, list(captions)
