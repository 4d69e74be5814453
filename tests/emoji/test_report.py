from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import nn

import dpnb
from dpnb.emoji import FOLDER
from dpnb.emoji.classifier import (
    Recognition,
    build_classifier,
    draw_pictures,
    halves,
    load_classifier,
    name_pictures,
    train_classifier,
)
from dpnb.emoji.concepts import load_concepts
from dpnb.emoji.report import (
    Group,
    Judge,
    Report,
    choose_pairs,
    divide,
    measure_autoencoder,
    name_thing,
    pick_concepts,
    print_report,
)
from tests.emoji.test_pictures import needs_font

CONCEPTS = load_concepts()


class FirstColour(nn.Module):
    """Names a picture by the mean of its first channel: 0 below zero, else 1."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        red = pictures[:, 0].mean(dim=(1, 2))
        return torch.stack([-red, red], dim=1)


def test_the_classifier_is_small() -> None:
    network = build_classifier(len(CONCEPTS))

    assert sum(weight.numel() for weight in network.parameters()) <= 1_000_000
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, len(CONCEPTS))


@needs_font
def test_the_classifier_learns_a_few_pictures_and_comes_back(tmp_path: Path) -> None:
    few = CONCEPTS[:4]
    *_, last = train_classifier(few, 0.05, tmp_path / "classifier.pt")
    network = load_classifier(few, tmp_path / "classifier.pt")
    pictures, numbers = next(draw_pictures(few, 5, 40))
    task = Recognition(network, iter([(pictures, numbers)]), 40)

    assert last.is_saved
    assert 0 <= task.loss()[1] <= 1
    assert name_pictures(network, pictures, 2).shape == (40, 2)


@needs_font
def test_pictures_to_learn_from_differ_by_seed() -> None:
    few = CONCEPTS[:3]
    first, same, other = (next(draw_pictures(few, seed, 4))[0] for seed in (1, 1, 2))

    torch.testing.assert_close(first, same)
    assert not torch.allclose(first, other)


def test_halves_show_what_stands_left_and_right() -> None:
    pictures = torch.ones(1, 3, 64, 64)
    pictures[..., 20:44, 6:26] = -1
    left, right = halves(pictures)

    assert left.shape == right.shape == (1, 3, 64, 64)
    assert left[0, 0, 32, 32] == -1
    assert (right == 1).all()


def test_what_is_asked_for_is_always_the_same_and_mixed() -> None:
    numbers = pick_concepts(CONCEPTS, 300)
    pairs = choose_pairs(numbers, 50)

    assert numbers == pick_concepts(CONCEPTS, 300)
    assert len(set(numbers)) == 300
    assert sum(CONCEPTS[number].weight > 1 for number in numbers) == 150
    assert all(first != second for first, second in pairs)
    assert len(set(pick_concepts(CONCEPTS, 10_000))) == len(CONCEPTS)


def test_what_a_model_was_never_taught_counts_apart() -> None:
    right = torch.tensor([[True, True], [False, True], [False, False]])

    assert list(divide("things", right, [True, True, False])) == [
        Group("things", 2, 0.5, 1.0),
        Group("things it was never taught", 1, 0.0, 0.0),
    ]
    assert [group.pictures for group in divide("things", right, [True] * 3)] == [3]


def test_a_judge_counts_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)
    judge = Judge(pipe, CONCEPTS[:2], FirstColour(), frozenset({CONCEPTS[0].name}))
    monkeypatch.setattr("dpnb.emoji.report.STEPS", 2)

    groups, missed = judge.recognise_singles([0, 1])
    pairs = judge.recognise_pairs([(0, 1)])

    assert [group.pictures for group in groups] == [2, 2]
    assert all(group.top5 == 1 for group in groups)
    assert set(missed) < {concept.name for concept in CONCEPTS[:2]}
    assert [group.pictures for group in pairs] == [1]
    assert 0 < judge.measure_diversity([name_thing(CONCEPTS[0])]) < 1
    assert judge.measure_seconds() > 0


@needs_font
def test_the_autoencoder_inside_restores_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpnb.emoji.report.PICTURES", 8)
    pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64", dtype=torch.float32)

    assert 20 < measure_autoencoder(pipe.vae, CONCEPTS[:30]) < 45


def test_a_report_is_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    groups = (Group("single things", 600, 0.9, 0.97), Group("pairs", 100, 0.6, 0.8))
    report = Report(str(FOLDER), 28.2, 0.98, groups, 0.31, 0.3, 11_000_000, ("oden",))
    print_report(report)
    shown = capsys.readouterr().out

    assert "90.0%, top 5 97.0%" in shown
    assert "60.0%, one of two 80.0%" in shown
    assert "oden" in shown
    assert len(list(islice(report.rows(), 20))) == 7
