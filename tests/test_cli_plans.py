"""`dpnb plan` and `dpnb sweep`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import dpnb
from dpnb.bench.measurement import Measurement
from dpnb.cli import app
from dpnb.fidelity.quality import PictureScore, Quality
from dpnb.planning.table import PlanTable
from tests.planning.z_image import SMALL, write_z_image

run = CliRunner()


def test_a_plan_is_printed_with_the_python_that_switches_it_on(tmp_path: Path) -> None:
    file = tmp_path / "plans.json"
    settings = ["--budget", "8GiB", "--size", "32", "--device", "3060"]
    result = run.invoke(app, ["plan", "tiny-sd", *settings, "--out", str(file)])
    assert result.exit_code == 0, result.stderr
    assert "plans fit in" in " ".join(result.stdout.split())
    assert "pipe.strategies.use([" in result.stdout
    assert PlanTable.load(file).workload.width == 32


def test_plans_that_others_beat_are_shown_when_they_are_asked_for() -> None:
    command = ["plan", "tiny-sd", "--size", "32", "--device", "3060"]
    few, every = run.invoke(app, command).stdout, run.invoke(app, [*command, "--all"]).stdout
    assert "--all shows all" in few
    assert "--all" not in every
    assert every.count(" yes ") > few.count(" yes ") > 0
    assert ".rows" not in few + every


def test_a_plan_keeps_what_the_picture_may_lose_by_a_sweeps_file(tmp_path: Path) -> None:
    casting = frozenset({dpnb.LayerwiseCasting()})
    table = dpnb.plan("tiny-sd", height=32, width=32, device="3060", plans=[frozenset(), casting])
    score = PictureScore("cat", 0, 0.05, 0.1, 0.9, 0.8, 30.0, 20.0)
    measured = Measurement(
        casting, "finished", {"denoising": 1}, 1.0, 0.1, quality=Quality((score,))
    )
    dpnb.Report(table, (measured,)).save(tmp_path / "sweep.json")
    command = ["plan", "tiny-sd", "--size", "32", "--device", "3060", "--all"]
    limit = ["--max-difference", "not visible side by side"]
    known = run.invoke(app, [*command, *limit, "--measured", str(tmp_path / "sweep.json")])
    words = " ".join(known.stdout.split())
    assert "What some plans do to the picture is unknown" in words
    assert "0.050" in known.stdout
    assert 'within "not visible side by side"' in words


def test_what_is_about_pictures_needs_pictures() -> None:
    given = ["--prompt", "cat", "--seeds", "5", "--max-difference", "0.1"]
    for place, named in ((0, "--prompt"), (2, "--seeds"), (4, "--max-difference")):
        result = run.invoke(app, ["sweep", "dpnb/emoji-64", *given[place : place + 2]])
        assert result.exit_code == 1
        assert f"{named} is about comparing pictures; add --quality." in result.stderr


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
