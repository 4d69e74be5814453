from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import dpnb
from dpnb.cli import app

run = CliRunner()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    dpnb.random_pipeline("tiny-sd").save_pretrained(folder)
    return folder


def draw(model: Path | str, *arguments: str) -> tuple[int, str, str]:
    result = run.invoke(app, ["draw", "a cat", "--model", str(model), "--steps", "2", *arguments])
    return result.exit_code, result.stdout, result.stderr


def test_a_picture_is_drawn_and_its_file_named(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "cat.png"
    code, shown, _ = draw(tiny, "--out", str(file), "--height", "24", "--width", "48")
    assert code == 0
    with Image.open(file) as picture:
        assert picture.size == (48, 24)
    assert f"Drew {file} (48 x 24 pixels) in" in shown


def test_a_seed_draws_the_same_picture_again(tiny: Path, tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.png" for name in "abc"]
    for file, seed in zip(files, ("1", "1", "2"), strict=True):
        assert draw(tiny, "--out", str(file), "--seed", seed)[0] == 0
    one, other, third = (file.read_bytes() for file in files)
    assert one == other != third


def test_several_pictures_are_numbered(tiny: Path, tmp_path: Path) -> None:
    assert draw(tiny, "--out", str(tmp_path / "cat.png"), "--count", "3")[0] == 0
    assert {f.name for f in tmp_path.iterdir()} == {"cat-1.png", "cat-2.png", "cat-3.png"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--out", "cat"), "cat has no ending that names a kind of picture"),
        (("--height", "33"), "height is 33; it must be a positive multiple of 8"),
        (("--steps", "-4"), "num_inference_steps is -4"),
        (("--device", "toaster"), "'toaster' is not a device"),
        (("--dtype", "float17"), "'float17' is not a dtype"),
        (("--model", "no/such/folder"), "no/such/folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_status_1(
    tiny: Path, tmp_path: Path, arguments: tuple[str, str], sentence: str
) -> None:
    code, shown, error = draw(tiny, "--out", str(tmp_path / "x.png"), *arguments)
    assert code == 1
    assert shown == ""
    lines = [line for line in error.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1
    assert sentence in lines[0]
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_the_version_is_told() -> None:
    result = run.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"dpnb {dpnb.__version__}\n"


def test_debug_shows_where_an_error_came_from(tiny: Path) -> None:
    code, _, error = draw(tiny, "--steps", "-4", "--debug")
    assert code == 1
    assert "Traceback" in error


def test_the_demonstration_draws_every_prompt_and_a_sheet(tmp_path: Path) -> None:
    from dpnb.emoji import PROMPTS

    result = run.invoke(app, ["demo", "--out", str(tmp_path / "demo")])
    assert result.exit_code == 0, result.output
    files = sorted(f.name for f in (tmp_path / "demo").glob("*.png"))
    assert len(files) == len(PROMPTS) + 1
    assert "sheet.png" in files
    assert f"Drew {len(PROMPTS)} pictures" in result.stdout
    assert "streaming" in result.stdout
    assert (tmp_path / "demo" / "report" / "memory-against-time.png").is_file()
