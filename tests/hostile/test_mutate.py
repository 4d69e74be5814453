"""Broken files of every kind are refused in a sentence, or are good enough to draw with."""

from __future__ import annotations

import io
import runpy
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import torch

from dpnb.errors import CheckpointError
from dpnb.units import parse_bytes
from tests.hostile.code_mutations import plant
from tests.hostile.mutate import is_acceptable
from tests.hostile.weight_mutations import mutate_bin
from tests.hostile.workers import Result, is_sentence

ROOT = Path(__file__).parents[2]


def test_broken_files_are_refused_in_sentences_or_draw() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "tests.hostile.mutate"]
    done = subprocess.run(
        [*command, "--count", "66", "--seed", "2026"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_sentence_is_what_dpnb_raises_itself() -> None:
    with pytest.raises(ValueError, match="much") as ours:
        parse_bytes("much")
    with pytest.raises(ValueError, match="much") as pythons:
        int("much")
    assert is_sentence(CheckpointError("There is no such file."))
    assert is_sentence(ours.value)
    assert not is_sentence(pythons.value)


def test_a_planted_pickle_would_make_its_file(tmp_path: Path) -> None:
    good, canary = io.BytesIO(), tmp_path / "executed"
    torch.save({"a": torch.zeros(2)}, good)
    broken = (mutate_bin(good.getvalue(), Random(seed), str(canary)) for seed in range(99))
    planted = next(content for way, content in broken if way == "code")
    torch.load(io.BytesIO(planted), weights_only=False)["a"].close()
    assert canary.exists()


def test_planted_code_would_make_its_file(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    for file in ("model_index.json", "unet/config.json"):
        (tmp_path / file).write_text("{}")
    plant(tmp_path, tmp_path / "executed", Random(0))
    runpy.run_path(str(tmp_path / "unet" / "planted.py"))
    assert (tmp_path / "executed").exists()


def test_what_grows_or_dies_is_told_apart() -> None:
    attempts = """
import os
from tests.hostile.workers import run_apart
grow, end = lambda: bytearray(b"1") * (3 << 30), lambda: os._exit(3)
print(*(run_apart(attempt).outcome for attempt in (list, lambda: int("x"), grow, end)))
"""
    command = [sys.executable, "-c", attempts]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["drew", "raw", "memory", "killed"]


@pytest.mark.parametrize(
    ("outcomes", "holds"),
    [
        (["refused"] * 99 + ["raw"], True),
        (["refused"] * 98 + ["raw"] * 2, False),
        (["drew", "hang"], False),
        (["drew", "memory"], False),
        (["drew", "executed"], False),
        (["drew", "killed"], False),
    ],
)
def test_hardly_an_error_may_be_raw_and_nothing_else_go_wrong(
    outcomes: list[str], holds: bool
) -> None:
    assert is_acceptable([Result(outcome) for outcome in outcomes]) is holds
