from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import dpnb
from dpnb.cli import app
from dpnb.terminal import sentence

pytestmark = pytest.mark.exhaustive

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
        (("--device", ""), "'' is not a device"),
        (("--device", "-1"), "'-1' is not a device"),
        (("--device", "gpu"), "'gpu' is not a device"),
        (("--device", "tpu"), "'tpu' is not a device"),
        (("--device", "cuda:x"), "'cuda:x' is not a device"),
        (("--device", "xla"), "There is no xla device here"),
        (("--device", "hpu:3"), "There is no hpu device here"),
        (("--device", "cpu:x"), "'cpu:x' is not a device"),
        (("--prompts", "x"), "--prompts takes the place of a prompt"),
        (("--out", "/dev/null/x.png"), "/dev/null is a file"),
        (("--out", "/dev/null/x/y.png"), "/dev/null is a file"),
        (("--out", "cat.psd"), "Pictures cannot be written as .psd"),
        (("--out", "cat.h5"), "Pictures cannot be written as .h5"),
        (("--out", "cat.mpg"), "Pictures cannot be written as .mpg"),
        (("--model", ""), "has no model_index.json"),
        (("--count", "0"), "num_images_per_prompt is 0"),
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


@pytest.mark.parametrize(
    "arguments",
    [
        ("--steps", "many"),
        ("--guidance", "x"),
        ("--seed", "1.5"),
        ("--height", "x"),
        ("--count", ""),
        ("--colour", "red"),
    ],
)
def test_a_wrong_option_is_told_with_status_2(tiny: Path, arguments: tuple[str, str]) -> None:
    code, shown, error = draw(tiny, *arguments)
    assert code == 2
    assert shown == ""
    assert arguments[0] in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("plan", "sd3"),
            "'sd3' is neither a folder, nor a repository such as owner/name, nor one",
        ),
        (("plan", "sdxl-turbo"), "The nearest are sdxl"),
        (("plan", ""), "has no model_index.json"),
        (("plan", "tiny-sd", "--size", "0"), "'0' is not a size; each side has pixels"),
        (("plan", "tiny-sd", "--size", "0x64"), "'0x64' is not a size"),
        (("plan", "tiny-sd", "--size", "-8"), "'-8' is not a size"),
        (("plan", "tiny-sd", "--size", "a"), "'a' is not a size"),
        (("plan", "tiny-sd", "--size", "1x2x3"), "'1x2x3' is not a size"),
        (("plan", "tiny-sd", "--size", "1001"), "height is 1001; it must be a positive multiple"),
        (("plan", "tiny-sd", "--budget", "much"), "'much' is not a size"),
        (("plan", "tiny-sd", "--dtype", "int3"), "'int3' is not a dtype"),
        (("plan", "tiny-sd", "--device", "RTX 1"), "is not a card that is known here"),
        (("plan", "tiny-sd", "--device", "xla"), "There is no xla device here"),
        (("plan", "tiny-sd", "--steps", "0"), "steps is 0"),
        (("plan", "tiny-sd", "--batch", "0"), "batch is 0"),
        (("sweep", "dpnb/emoji-64", "--size", "0"), "'0' is not a size"),
        (("sweep", "dpnb/emoji-64", "--size", "100", "--out", "{}"), "height is 100; it must be"),
        (("sweep", "dpnb/emoji-64", "--device", "xla"), "There is no xla device here"),
        (("sweep", "dpnb/emoji-64", "--repeats", "0", "--out", "{}"), "repeats is 0"),
        (
            ("plan", "tiny-sd", "--max-difference", "much"),
            "max_difference is 'much'; give a number",
        ),
        (("plan", "tiny-sd", "--measured", "{}/no.json"), "no.json"),
        (
            ("sweep", "dpnb/emoji-64", "--quality", "--seeds", "0", "--out", "{}"),
            "at least one prompt and one seed",
        ),
        (("sweep", "dpnb/emoji-64", "--link", "fast", "--out", "{}"), "'fast' is not a device"),
        (("sweep", "dpnb/emoji-64", "--link", "simulated:", "--out", "{}"), "no simulated link"),
        (("sweep", "dpnb/emoji-64", "--out", "/dev/null/x"), "/dev/null is a file"),
        (("plan", "tiny-sd", "--out", "/dev/null/x/y.json"), "/dev/null is a file"),
        (("demo", "--out", "/dev/null"), "/dev/null is a file"),
        (("plan", "tiny-sd", "--frames", "16", "--device", "T4"), "frames is 16, and a call of"),
        (("demo", "--device", "xla"), "There is no xla device here"),
        (("lab", "--theme", "pink"), "theme is 'pink'"),
    ],
)
def test_every_command_says_a_mistake_in_a_sentence(
    tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    given = [argument.format(tmp_path / "out") for argument in arguments]
    result = run.invoke(app, given)
    assert result.exit_code == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(lines) == 1
    assert sentence in lines[0]
    assert "Traceback" not in result.stderr


def test_an_interrupt_ends_in_a_sentence(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(steps: Iterator[Any], what: str) -> list[Any]:
        next(steps)
        raise KeyboardInterrupt

    monkeypatch.setattr("dpnb.cli.watch", interrupted)
    code, shown, error = draw(tiny, "--out", str(tmp_path / "x.png"))
    assert code == 130
    assert shown == ""
    assert "Interrupted; what was complete has been kept." in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "a.png"), "a.png: No such file or dir"),
        (KeyError("prompt"), "KeyError: 'prompt'; --debug shows where."),
        (MemoryError(), "MemoryError: no reason is given; --debug shows where."),
        (RuntimeError("first\nsecond"), "first second"),
        (ValueError("a \udcff"), "a \\udcff"),
        (AssertionError(), "AssertionError: no reason is given; --debug shows where."),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_is_one_line(error: Exception, said: str) -> None:
    line = sentence(error)
    assert line.startswith(said)
    assert len(line.splitlines()) == 1
    assert line.encode()


def test_numbers_that_are_none_are_one_sentence_and_no_picture(tmp_path: Path) -> None:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.vae.decoder.conv_out.bias.data[0] = float("nan")
    pipe.save_pretrained(tmp_path / "model")
    code, shown, error = draw(tmp_path / "model", "--out", str(tmp_path / "x.png"))
    assert code == 1
    assert shown == ""
    assert "Error: Decoding the picture gave NaN or infinity. " in error
    assert "Traceback" not in error
    assert not (tmp_path / "x.png").exists()


def test_the_version_is_told() -> None:
    result = run.invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.stdout == f"dpnb {dpnb.__version__}\n"


def test_debug_shows_where_an_error_came_from(tiny: Path) -> None:
    code, _, error = draw(tiny, "--steps", "-4", "--debug")
    assert code == 1
    assert "Traceback" in error


@pytest.mark.slow
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
