"""A small network that names emoji: the judge of what the model draws.

It learns from the font's pictures, moved, turned, shaded and blurred, never from the model's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpnb.emoji.concepts import Concept
from dpnb.emoji.layout import Variety
from dpnb.emoji.precision import autocast
from dpnb.emoji.samples import Habits, Samples
from dpnb.emoji.scenes import Generator, Scene, Thing
from dpnb.emoji.trainer import StepReport, Trainer, TrainingPlan
from dpnb.emoji.workers import Workers

WIDTHS = (32, 64, 96, 128, 192)
SAMPLES = 48
SEED, HELD_OUT_SEED = 11, 12
MUCH_VARIETY = Variety(shift=1.0, shrink=0.5, degrees=14.0, mirrored=0.5, hue=12.0, light=0.15)
COLOURED = 0.2
"""Share of pictures on a coloured background."""

BLUR = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16


def build_classifier(count: int) -> nn.Sequential:
    """The network: (batch, 3, 64, 64) in [-1, 1] to `count` scores; under a million parameters."""
    layers: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 3, padding=1)]
    for narrow, wide in pairwise(WIDTHS):
        layers += [nn.GroupNorm(8, narrow), nn.SiLU(), nn.Conv2d(narrow, wide, 3, 2, 1)]
    end = [nn.GroupNorm(8, WIDTHS[-1]), nn.SiLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()]
    narrowed = [nn.Linear(4 * WIDTHS[-1], WIDTHS[-1]), nn.SiLU(), nn.Linear(WIDTHS[-1], count)]
    return nn.Sequential(*layers, *end, *narrowed)


@dataclass
class Recognition:
    """The task of naming a picture.

    Attributes:
        module: what learns.
        pictures: endless batches: pictures (samples, 3, 64, 64) and numbers of their concepts.
        samples: pictures in a batch.
    """

    module: nn.Module
    pictures: Iterator[tuple[Tensor, Tensor]]
    samples: int = SAMPLES
    adam_names: tuple[str, ...] = ("0.",)

    def loss(self) -> tuple[Tensor, float]:
        """Cross-entropy of a fresh batch, and the share that is named right."""
        pictures, concepts = next(self.pictures)
        with autocast(torch.device("cpu")):
            scores: Tensor = self.module(pictures).float()
        loss = F.cross_entropy(scores, concepts, label_smoothing=0.05)
        return loss, (scores.argmax(dim=1) == concepts).float().mean().item()


def draw_pictures(
    concepts: tuple[Concept, ...], seed: int, samples: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of single things, some of them soft or noisy as a decoder leaves them."""
    source = Samples(concepts, Habits(), seed)
    rng = np.random.default_rng(seed)
    while True:
        numbers = rng.integers(len(concepts), size=samples)
        pictures = [
            source.picture(_show(concepts[number], rng), MUCH_VARIETY, rng) for number in numbers
        ]
        yield torch.stack([_worsen(one, rng) for one in pictures]), torch.from_numpy(numbers)


def _show(concept: Concept, rng: Generator) -> Scene:
    colours = ("blue", "yellow", "green", "pink", "black", "purple", "red", "orange", "grey")
    background = str(rng.choice(colours)) if rng.random() < COLOURED else "white"
    return Scene((Thing(concept),), background=background)


def _worsen(picture: Tensor, rng: Generator) -> Tensor:
    if rng.random() < 0.5:
        soft = F.conv2d(F.pad(picture[:, None], (1, 1, 1, 1), "replicate"), BLUR[None, None])
        picture = torch.lerp(picture, soft[:, 0], float(rng.uniform(0, 1)))
    noise = rng.standard_normal(picture.shape, dtype=np.float32) * rng.uniform(0, 0.12)
    return (picture + torch.from_numpy(noise)).float()


def train_classifier(
    concepts: tuple[Concept, ...], minutes: float, checkpoint: Path
) -> Iterator[StepReport]:
    """Train, or train on, for `minutes` in all; leaves `checkpoint`."""
    torch.manual_seed(SEED)
    task = Recognition(build_classifier(len(concepts)), draw_pictures(concepts, SEED, SAMPLES))
    plan = TrainingPlan(minutes, muon_lr=0.015, adam_lr=2e-3, averaging=0.998)
    yield from Trainer(task, plan, Workers(), checkpoint).run()


def load_classifier(concepts: tuple[Concept, ...], checkpoint: Path) -> nn.Module:
    """The averaged network in `checkpoint`."""
    network = build_classifier(len(concepts)).eval().requires_grad_(False)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network.load_state_dict(state["averaged"])
    return network


def name_pictures(network: nn.Module, pictures: Tensor, best: int = 5) -> Tensor:
    """Numbers of the `best` concepts, or all, for each picture, likeliest first."""
    with torch.no_grad():
        scores = torch.cat([network(part) for part in pictures.split(SAMPLES)])
    return scores.topk(min(best, scores.shape[1]), dim=1).indices


def halves(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """What stands left and right in `pictures` on white, each enlarged, (pictures, 3, 64, 64)."""
    size, width = pictures.shape[-1], pictures.shape[-1] // 2
    margin = size // 8
    sides = (pictures[..., margin:-margin, :width], pictures[..., margin:-margin, width:])
    left, right = (
        F.interpolate(F.pad(side, (margin, margin), value=1.0), (size, size), mode="bilinear")
        for side in sides
    )
    return left, right
