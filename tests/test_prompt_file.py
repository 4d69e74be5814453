"""Files of prompts: what a line may say, what is wrong with it, and what is drawn again."""

from __future__ import annotations

import codecs
import json
import os
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
        (json.dumps({"prompt": "a", "name": "a\0b"}), "'a\\x00b' is no name of a picture"),
        (json.dumps({"prompt": "a", "name": "a\nb"}), "'a\\nb' is no name of a picture"),
        (
            json.dumps({"prompt": "a", "name": "\ud800"}),
            "it is no JSON (it holds a lone surrogate",
        ),
        (json.dumps({"prompt": "a", "name": "b" * 300}), "'bbbbbbbb"),
        (json.dumps({"prompt": "a", "name": "日" * 100}), "'日日日日"),
        ('{"prompt": "a", "name": ""}', "'' is no name of a picture"),
        ('{"prompt": "a", "name": " "}', "' ' is no name of a picture"),
        ('{"prompt": "a", "name": ["b"]}', "['b'] is no name of a picture"),
        ('{"prompt": "a", "size": 0}', "0 is not a size; each side has pixels"),
        ('{"prompt": "a", "size": "0x8"}', "'0x8' is not a size; each side has pixels"),
        ('{"prompt": "a", "size": -8}', "-8 is not a size"),
        (
            '{"prompt": "a", "seed": 36893488147419103232}',
            "seed is 36893488147419103232; it must be",
        ),
        ("[" * 100_000, "it is no JSON"),
        ('{"prompt": "a", "seed": ' + "9" * 5000 + "}", "it is no JSON"),
        ('{"prompt": "a", "name": "Dog"}', "Dog.png is drawn by line 1 already"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, line: str, sentence: str) -> None:
    file = written(tmp_path, json.dumps(LINES[1]), line)
    with pytest.raises(PromptFileError) as caught:
        read_prompts(file, Drawing())
    assert f"{file}, line 2: {sentence}" in str(caught.value)


ACCENTED = '{"prompt": "ein Fuß, 狐"}'
ENCODINGS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32": b"",
    "utf-32-be": codecs.BOM_UTF32_BE,
}
"""Each with the mark that goes before it, where Python does not write one."""


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_a_byte_order_mark_says_how_a_file_is_read(
    tmp_path: Path, encoding: str, ending: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    text = ending.join([ACCENTED, "", ACCENTED])
    file.write_bytes(ENCODINGS[encoding] + text.encode(encoding))
    drawings = read_prompts(file, Drawing())
    assert [one.prompt for one in drawings] == ["ein Fuß, 狐"] * 2
    assert [one.line for one in drawings] == [1, 3]


def test_a_line_ends_where_json_says_so(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "one\u2028line\x85"}', encoding="utf-8")
    (drawing,) = read_prompts(file, Drawing())
    assert drawing.prompt == "one\u2028line\x85"


def test_an_astronaut_may_be_a_name(tmp_path: Path) -> None:
    file = written(tmp_path, json.dumps({"prompt": "a", "name": "🧑\u200d🚀"}))
    assert read_prompts(file, Drawing())[0].name == "🧑\u200d🚀.png"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (ACCENTED.encode("latin-1", "replace"), "line 1: it is no text in UTF-8"),
        (b'{"prompt": "a"}\n\xff', "line 2: it is no text in UTF-8"),
        (ACCENTED.encode("utf-16-le"), "it is no text in UTF-8"),
        ('{"prompt": "a"}'.encode("utf-16-le"), "holds zero bytes, as UTF-16 without a byte"),
        (codecs.BOM_UTF16_LE + b"a", "line 1: it is no text in UTF-16"),
        (bytes(64), "holds zero bytes"),
        (b"\x89PNG\r\n\x1a\n", "line 1: it is no text in UTF-8"),
        (b"", "holds no prompts"),
    ],
)
def test_what_is_no_text_is_refused_with_the_name_of_the_file(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(content)
    with pytest.raises(PromptFileError) as caught:
        read_prompts(file, Drawing())
    assert str(file) in str(caught.value)
    assert sentence in str(caught.value)


def test_what_is_no_file_is_refused_with_its_name(tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    os.mkfifo(queue)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")
    for path, reason in (
        (tmp_path, "is a folder; give a file of prompts"),
        (queue, "is no file, but something else"),
        (Path("/dev/zero"), "is no file, but something else"),
        (tmp_path / "nowhere", "is not there"),
        (dangling, "is not there"),
        (tmp_path / "a\0b", "is not there"),
        (tmp_path / ("a" * 300), "cannot be read (File name too long)"),
    ):
        with pytest.raises(PromptFileError) as caught:
            read_prompts(path, Drawing())
        assert f"{path} {reason}" in str(caught.value)


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
        (["draw", "--prompts", "nowhere.jsonl"], "nowhere.jsonl is not there; give a file of"),
        (["draw", "--prompts", "/"], "/ is a folder; give a file of prompts"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str) -> None:
    result = run.invoke(app, arguments)
    assert result.exit_code == 1
    assert sentence in result.stderr


def test_a_file_of_absurd_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    with file.open("wb") as opened:
        opened.truncate(8 << 30)
    with pytest.raises(PromptFileError, match=r"has 8\.0+ GiB, and such a file has no more than"):
        read_prompts(file, Drawing())
