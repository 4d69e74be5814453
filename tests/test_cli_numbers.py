"""Numbers on the command line that no picture can be drawn with."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import dpnb
from dpnb.cli import app

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("tiny")
    dpnb.random_pipeline("tiny-sd").save_pretrained(target)
    return target


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--guidance", "nan", "guidance is nan; it must be a finite number"),
        ("--guidance", "inf", "guidance is inf; it must be a finite number"),
        ("--seed", str(2**64), f"seed is {2**64}; it must be a whole number from"),
        ("--steps", "1001", "num_inference_steps is 1001; choose between 1 and 1000"),
        ("--count", "0", "num_images_per_prompt is 0; it must be a whole number of at least 1"),
        ("--width", "0", "width is 0; it must be a positive multiple of 8"),
    ],
)
def test_a_number_that_cannot_be_drawn_with_is_one_sentence(
    folder: Path, tmp_path: Path, option: str, value: str, sentence: str
) -> None:
    picture = tmp_path / "picture.png"
    settings = ["--model", str(folder), "--device", "cpu", "--out", str(picture)]
    result = CliRunner().invoke(app, ["draw", "a cat", *settings, option, value])
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert result.exit_code == 1
    assert [sentence in line for line in lines] == [True]
    assert not picture.exists()
