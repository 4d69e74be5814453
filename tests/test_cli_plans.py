"""`dpnb plan` and `dpnb sweep`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from dpnb.cli import app
from dpnb.planning.table import PlanTable
from tests.planning.z_image import SMALL, write_z_image

run = CliRunner()


def test_a_plan_is_printed_with_the_python_that_switches_it_on(tmp_path: Path) -> None:
    file = tmp_path / "plans.json"
    settings = ["--budget", "8GiB", "--size", "32", "--device", "3060"]
    result = run.invoke(app, ["plan", "tiny-sd", *settings, "--out", str(file)])
    assert result.exit_code == 0, result.stderr
    assert "plans fit in" in result.stdout
    assert "pipe.strategies.use([" in result.stdout
    assert PlanTable.load(file).workload.width == 32


def test_plans_that_others_beat_are_shown_when_they_are_asked_for() -> None:
    command = ["plan", "tiny-sd", "--size", "32", "--device", "3060"]
    few, every = run.invoke(app, command).stdout, run.invoke(app, [*command, "--all"]).stdout
    assert "--all shows all" in few
    assert "--all" not in every
    assert every.count(" yes ") > few.count(" yes ") > 0
    assert ".rows" not in few + every


def test_a_folder_of_a_foreign_pipeline_is_planned_for(tmp_path: Path) -> None:
    write_z_image(tmp_path, SMALL)
    settings = ["--size", "64", "--device", "3060", "--dtype", "bfloat16"]
    result = run.invoke(app, ["plan", str(tmp_path), *settings])
    assert result.exit_code == 0, result.stderr
    assert "50 steps" in " ".join(result.stdout.split())
    assert "pipe.strategies.use([" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--size", "big"], "'big' is not a size"),
        (["--size", "33"], "positive multiple of 8"),
        (["--device", "RTX 1"], "is not a card that is known"),
        (["--device", "RTX 3060", "--budget", "much"], "'much' is not a size"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str) -> None:
    given = arguments if "--device" in arguments else [*arguments, "--device", "RTX 3060"]
    result = run.invoke(app, ["plan", "tiny-sd", *given])
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


def test_a_sweep_writes_its_report(tmp_path: Path) -> None:
    result = run.invoke(
        app,
        ["sweep", "dpnb/emoji-64", "--steps", "1", "--repeats", "1", "--out", str(tmp_path)],
    )
    assert result.exit_code == 0, result.stderr
    assert "memory-against-time.svg" in result.stdout
    assert (tmp_path / "sweep.json").is_file()
