"""Files of prompts: what a line may say, what is wrong with it, and what is drawn again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import dpnb
from dpnb.cli import app
from dpnb.prompt_file import Drawing, PromptFileError, draw_prompts, read_prompts

run = CliRunner()

LINES: tuple[dict[str, Any], ...] = (
    {"prompt": "a cat"},
    {"prompt": "a dog", "seed": 3, "size": "24x16", "steps": 1, "guidance": 1, "name": "dog"},
    {"prompt": "a cow", "negative_prompt": "grass", "size": 16, "name": "cow.png"},
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    dpnb.random_pipeline("tiny-sd").save_pretrained(folder)
    return folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path, *map(json.dumps, LINES[:1]), "", *map(json.dumps, LINES[1:]))


def written(folder: Path, *lines: str) -> Path:
    file = folder / "prompts.jsonl"
    file.write_text("\n".join(lines))
    return file


def test_a_line_differs_from_the_defaults_where_it_says_so(file: Path) -> None:
    usual = Drawing("", "rain", 7, 2, 4.0, 32, 32)
    cat, dog, cow = read_prompts(file, usual)
    assert cat == Drawing("a cat", "rain", 7, 2, 4.0, 32, 32, "0001-a-cat.png", 1)
    assert dog == Drawing("a dog", "rain", 3, 1, 1, 24, 16, "dog.png", 3)
    assert cow == Drawing("a cow", "grass", 7, 2, 4.0, 16, 16, "cow.png", 4)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "it is no JSON"),
        ("[]", 'it is no object with a "prompt"'),
        ('{"prompt": 3}', 'it is no object with a "prompt"'),
        ('{"prompt": "a", "promt": "b"}', "it has no 'promt'; write prompt"),
        ('{"prompt": "a", "seed": "b"}', "seed is 'b'; it must be a whole number"),
        ('{"prompt": "a", "steps": 1.5}', "steps is 1.5; it must be a whole number"),
        ('{"prompt": "a", "guidance": true}', "guidance is True; it must be a finite number"),
        ('{"prompt": "a", "size": "big"}', "'big' is not a size"),
        ('{"prompt": "a", "name": "../a"}', "'../a' is no name of a picture"),
        ('{"prompt": "a", "name": "a.jpg"}', "'a.jpg' does not end in .png"),
        ('{"prompt": "a", "name": "Dog"}', "Dog.png is drawn by line 1 already"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, line: str, sentence: str) -> None:
    file = written(tmp_path, json.dumps(LINES[1]), line)
    with pytest.raises(PromptFileError) as caught:
        read_prompts(file, Drawing())
    assert f"{file}, line 2: {sentence}" in str(caught.value)


def test_a_file_without_prompts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PromptFileError, match="holds no prompts"):
        read_prompts(written(tmp_path, "", ""), Drawing())


def test_what_the_model_cannot_draw_is_told_before_anything_is_drawn(
    model: Path, tmp_path: Path
) -> None:
    file = written(tmp_path, json.dumps(LINES[0]), '{"prompt": "a", "size": 33}')
    result = invoke(model, file, tmp_path / "out")
    assert result.exit_code == 1
    assert "prompts.jsonl, line 2: height is 33; it must be a positive multiple" in result.stderr
    assert not (tmp_path / "out").exists()


def invoke(model: Path, file: Path, folder: Path, *arguments: str) -> Any:
    settings = ["--model", str(model), "--steps", "2", "--device", "cpu"]
    return run.invoke(
        app, ["draw", "--prompts", str(file), "--out", str(folder), *settings, *arguments]
    )


def test_pictures_are_drawn_once_and_again_where_something_has_changed(
    model: Path, file: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    assert "Drew 3 pictures" in invoke(model, file, folder).stdout
    with Image.open(folder / "dog.png") as picture:
        assert picture.size == (24, 16)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(first) == {"0001-a-cat.png", "dog.png", "cow.png"}

    (folder / "cow.png").write_bytes(first["cow.png"][:-40])
    (folder / "dog.png").unlink()
    again = invoke(model, file, folder).stdout
    assert "Drew 2 pictures" in again
    assert "1 were there already" in again
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    changed = invoke(model, file, folder, "--seed", "1").stdout
    assert "Drew 2 pictures" in changed, "the third has a seed of its own"


def test_pictures_of_another_model_are_drawn_anew(model: Path, file: Path, tmp_path: Path) -> None:
    pipe: Any = dpnb.DiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)

    def watch(steps: Any, what: str) -> list[Any]:
        return list(list(steps)[-1].output.images)

    drawings = read_prompts(file, Drawing(steps=1))
    drawn = draw_prompts(pipe, drawings, tmp_path / "out", "tiny", watch)
    assert drawn.names == ("0001-a-cat.png", "cow.png", "dog.png")
    assert draw_prompts(pipe, drawings, tmp_path / "out", "tiny", watch).kept == 3
    assert draw_prompts(pipe, drawings, tmp_path / "out", "other", watch).kept == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["draw"], "There is nothing to draw"),
        (["draw", "a", "--prompts", "b"], "--prompts takes the place of a prompt"),
        (["draw", "--prompts", "b", "--count", "2"], "--prompts takes the place of a prompt"),
        (["draw", "--prompts", "nowhere.jsonl"], "nowhere.jsonl"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str) -> None:
    result = run.invoke(app, arguments)
    assert result.exit_code == 1
    assert sentence in result.stderr
