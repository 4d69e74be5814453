"""Judge a model of emoji by numbers: `python -m dpnb.emoji.report --model folder`.

A classifier that has seen the font's pictures alone says what the model's show. It is trained
first, unless the folder `--work` has one; several models are judged by the same one.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dpnb.atomic import write_text
from dpnb.emoji import FOLDER
from dpnb.emoji.autoencoder import signal_to_noise
from dpnb.emoji.classifier import (
    HELD_OUT_SEED,
    draw_pictures,
    halves,
    load_classifier,
    name_pictures,
    train_classifier,
)
from dpnb.emoji.concepts import Concept, load_concepts, parse_concepts
from dpnb.emoji.grammar import with_article
from dpnb.emoji.samples import Habits, Samples, load_batches
from dpnb.fidelity.scores import map_flip
from dpnb.models.autoencoder import AutoencoderKL
from dpnb.pipelines.stable_diffusion import StableDiffusionPipeline
from dpnb.terminal import out

AT_ONCE = 16
STEPS, GUIDANCE = 20, 5.0
PICTURES = 256
SEEDS, MANY_SEEDS = (0, 1), (0, 1, 2, 3)


@dataclass(frozen=True)
class Group:
    """How many of a group of pictures show what their prompts say, as shares.

    Attributes:
        name: the group's.
        pictures: how many there are.
        top1: the classifier's first guess is right; of two things, both are.
        top5: one of the first five is; of two things, at least one thing's first guess is right.
    """

    name: str
    pictures: int
    top1: float
    top5: float


@dataclass(frozen=True)
class Report:
    """What was measured.

    Attributes:
        model: the folder.
        autoencoder_db: peak signal-to-noise ratio of restored pictures.
        classifier: the classifier's own share of right names of pictures it has not seen.
        recognised: of single things and of pairs, those that the model knows and the others.
        diversity: FLIP's mean between seeds of one prompt.
        seconds: for one picture of 20 steps.
        size: of the folder, in bytes.
        missed: single things that neither seed showed.
    """

    model: str
    autoencoder_db: float
    classifier: float
    recognised: tuple[Group, ...]
    diversity: float
    seconds: float
    size: int
    missed: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, str]]:
        """What, and its value, for people."""
        yield "autoencoder", f"{self.autoencoder_db:.2f} dB"
        yield "classifier, of pictures it has not seen", f"{self.classifier:.1%}"
        for group in self.recognised:
            more = "one of two" if "pair" in group.name else "top 5"
            shares = f"{group.top1:.1%}, {more} {group.top5:.1%}"
            yield f"{group.name} ({group.pictures} pictures)", shares
        yield "FLIP between seeds", f"{self.diversity:.3f}"
        yield f"one picture, {STEPS} steps", f"{self.seconds:.2f} s"
        yield "folder", f"{self.size / 1e6:.2f} MB"


@dataclass(frozen=True)
class Judge:
    """A model, and who says what its pictures show.

    Attributes:
        pipe: the model.
        concepts: all that the classifier knows, in its order.
        network: the classifier.
        known: names that the model was taught.
    """

    pipe: StableDiffusionPipeline
    concepts: tuple[Concept, ...]
    network: nn.Module
    known: frozenset[str]

    def draw(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """A picture for each prompt and its seed, (prompts, 3, 64, 64) in [-1, 1]."""
        made = []
        for first in range(0, len(prompts), AT_ONCE):
            chosen = slice(first, first + AT_ONCE)
            asked: dict[str, Any] = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE}
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[chosen]]
            pictures = self.pipe(
                list(prompts[chosen]), generator=generators, output_type="pt", **asked
            ).images
            made.append(torch.as_tensor(pictures).float() * 2 - 1)
        return torch.cat(made)

    def recognise_singles(self, numbers: Sequence[int]) -> tuple[list[Group], tuple[str, ...]]:
        """Groups of single things, and the names of what neither seed showed."""
        asked = [number for number in numbers for _ in SEEDS]
        pictures = self.draw([name_thing(self.concepts[n]) for n in asked], SEEDS * len(numbers))
        guesses = name_pictures(self.network, pictures) == torch.tensor(asked)[:, None]
        shown = guesses[:, 0].reshape(len(numbers), -1).any(dim=1).tolist()
        missed = [self.concepts[n].name for n, is_shown in zip(numbers, shown, strict=True)
                  if not is_shown]  # fmt: skip
        are_known = [self.concepts[n].name in self.known for n in asked]
        right = torch.stack([guesses[:, 0], guesses.any(dim=1)], dim=1)
        return list(divide("single things", right, are_known)), tuple(missed)

    def recognise_pairs(self, pairs: Sequence[tuple[int, int]]) -> list[Group]:
        """Groups of pairs, the first thing left of the second."""
        prompts = [" and ".join(name_thing(self.concepts[n]) for n in pair) for pair in pairs]
        sides = halves(self.draw(prompts, range(len(pairs))))
        guesses = torch.cat([name_pictures(self.network, side, 1) for side in sides], dim=1)
        right = guesses == torch.tensor(pairs)
        are_known = [all(self.concepts[n].name in self.known for n in pair) for pair in pairs]
        both = torch.stack([right.all(dim=1), right.any(dim=1)], dim=1)
        return list(divide("pairs", both, are_known))

    def measure_diversity(self, prompts: Sequence[str]) -> float:
        """FLIP's mean over all pairs of four seeds of each prompt."""
        asked = [prompt for prompt in prompts for _ in MANY_SEEDS]
        pictures = self.draw(asked, MANY_SEEDS * len(prompts))
        shown = (pictures.permute(0, 2, 3, 1).numpy() + 1) / 2
        groups = shown.reshape(len(prompts), len(MANY_SEEDS), *shown.shape[1:])
        errors = [map_flip(a, b).mean() for group in groups for a, b in combinations(group, 2)]
        return float(np.mean(errors))

    def measure_seconds(self) -> float:
        """Seconds for one picture: the median of five, after one to warm up."""
        taken = []
        for seed in range(6):
            began = time.perf_counter()
            self.draw(["a red apple"], [seed])
            taken.append(time.perf_counter() - began)
        return median(taken[1:])


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, train the classifier where it must be, and judge."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m dpnb.emoji.report")
    parser.add_argument("--model", type=Path, default=FOLDER)
    parser.add_argument("--work", type=Path, default=Path("emoji-checkpoints"))
    parser.add_argument("--minutes", type=float, default=12.0, help="for the classifier, in all")
    parser.add_argument("--known", type=Path, help="table of the concepts that the model knows")
    parser.add_argument("--singles", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    concepts, checkpoint = load_concepts(), options.work / "classifier.pt"
    for step in train_classifier(concepts, options.minutes, checkpoint):
        if step.step % 100 == 0 or step.is_saved:
            line = f"{step.elapsed:.0f} s, step {step.step}, {step.rate:.0f} a second: "
            print(f"{line}{step.metric:.0%}", file=sys.stderr, flush=True)
    known = concepts
    if options.known is not None:
        known = parse_concepts(options.known.read_text(encoding="utf-8").splitlines())
    network = load_classifier(concepts, checkpoint)
    report = judge(options.model, concepts, network, known, options.singles, options.pairs)
    print_report(report)
    if options.json is not None:
        write_text(options.json, json.dumps(asdict(report), indent=2) + "\n")


def judge(
    model: Path,
    concepts: tuple[Concept, ...],
    network: nn.Module,
    known: Sequence[Concept],
    singles: int,
    pairs: int,
) -> Report:
    """Everything about the model in a folder."""
    pipe = StableDiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    names = frozenset(concept.name for concept in known)
    judging = Judge(pipe, concepts, network, names)
    numbers = pick_concepts(concepts, singles)
    groups, missed = judging.recognise_singles(numbers)
    prompts = [name_thing(concepts[n]) for n in numbers if concepts[n].name in names][:24]
    return Report(
        model=str(model),
        autoencoder_db=measure_autoencoder(pipe.vae, concepts),
        classifier=measure_classifier(network, concepts),
        recognised=(*groups, *judging.recognise_pairs(choose_pairs(numbers, pairs))),
        diversity=judging.measure_diversity(prompts),
        seconds=judging.measure_seconds(),
        size=sum(path.stat().st_size for path in model.rglob("*") if path.is_file()),
        missed=missed,
    )


def pick_concepts(concepts: Sequence[Concept], count: int) -> list[int]:
    """Numbers of `count` concepts, as many popular ones as others, always the same."""
    rng = np.random.default_rng(0)
    least = min(concept.weight for concept in concepts)
    groups = [[n for n, c in enumerate(concepts) if (c.weight > least) == popular]
              for popular in (True, False)]  # fmt: skip
    mixed = [list(map(int, rng.permutation(group))) for group in groups]
    turns = [n for both in zip(*mixed, strict=False) for n in both]
    rest = [n for group in mixed for n in group if n not in set(turns)]
    return [*turns, *rest][:count]


def choose_pairs(numbers: Sequence[int], count: int) -> list[tuple[int, int]]:
    """So many pairs of different `numbers`, always the same."""
    rng = np.random.default_rng(1)
    chosen = (rng.choice(numbers, 2, replace=False) for _ in range(count))
    return [(int(first), int(second)) for first, second in chosen]


def name_thing(concept: Concept) -> str:
    """The plainest prompt for a concept."""
    return with_article(concept.name.replace("’", "'"))


def divide(name: str, right: Tensor, are_known: Sequence[bool]) -> Iterator[Group]:
    """Groups of what the model knows and of what it does not, without empty ones.

    Args:
        name: of both.
        right: what counts, (pictures, 2) truths.
        are_known: whether the model was taught the prompt's words, of each picture.
    """
    mask = torch.tensor(are_known)
    for chosen, title in ((mask, name), (~mask, f"{name} it was never taught")):
        if chosen.any():
            strict, lenient = right[chosen].float().mean(dim=0).tolist()
            yield Group(title, int(chosen.sum()), strict, lenient)


@torch.no_grad()
def measure_autoencoder(vae: AutoencoderKL, concepts: tuple[Concept, ...]) -> float:
    """Peak signal-to-noise ratio of pictures as they are trained with, none of which it saw."""
    samples = Samples(concepts, Habits(), HELD_OUT_SEED)
    pictures, _ = next(load_batches(samples, PICTURES))
    restored = torch.cat(
        [vae.decode(vae.encode(part).latent_dist.mean).sample for part in pictures.split(AT_ONCE)]
    )
    return signal_to_noise(F.mse_loss(restored.clamp(-1, 1), pictures).item())


def measure_classifier(network: nn.Module, concepts: tuple[Concept, ...]) -> float:
    """The classifier's share of right names on pictures of a seed that it was not trained with."""
    batches = list(islice(draw_pictures(concepts, HELD_OUT_SEED, PICTURES), 8))
    pictures, numbers = (torch.cat(parts) for parts in zip(*batches, strict=True))
    guesses = name_pictures(network, pictures, 1)[:, 0]
    return float((guesses == numbers).float().mean())


def print_report(report: Report) -> None:
    """Print a table, and what the model could not draw."""
    from rich.table import Table

    table = Table("what", "value", title=f"The model in {report.model}", title_justify="left")
    for row in report.rows():
        table.add_row(*row)
    out.print(table)
    if report.missed:
        out.print(f"Not recognised with either seed: {', '.join(report.missed)}.")


if __name__ == "__main__":
    main()
