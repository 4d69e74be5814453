"""Whatever is written to a file is there whole, or what was there before is."""

from __future__ import annotations

import ast
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import dpnb
from dpnb import cli
from dpnb.atomic import write_atomically, write_bytes, write_text
from dpnb.bench.measurement import Measurement
from dpnb.bench.report import Report
from dpnb.emoji.tokenizer import build_tokenizer, save_tokenizer
from dpnb.errors import CheckpointError, DpnbError, SaveError
from dpnb.lab import write_page
from dpnb.loading.checkpoint_files import write_json
from dpnb.loading.saving.dduf import write_dduf
from dpnb.loading.weights.weight_files import write_weights
from dpnb.metering.trace import Trace
from dpnb.pipelines.pictures.previews import LatentColours
from dpnb.planning.table import PlanTable
from dpnb.prompt_file import Drawing, draw_prompts
from dpnb.schedulers.ddim import DDIMScheduler
from tests.metering.test_trace import TRACE

PACKAGE = Path(dpnb.__file__).parent

WRITERS = {"atomic.py", "loading/saving/dduf.py", "strategies/code_folder.py"}
"""Who writes files as they are: the one that all others use, what unpacks into a temporary folder,
and what keeps a compiler's files, in pairs."""

KILLED = """
import os, signal, sys
from dpnb.atomic import write_atomically
with write_atomically(sys.argv[1]) as file:
    file.write(b"half of")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""

KILLED_DDUF = """
import os, signal, sys
import dpnb
import dpnb.pipelines.storage.saving as saving
pipe = dpnb.random_pipeline("tiny-sd")
save = saving.save_component
def killed(part, folder, options):
    save(part, folder, options)
    if isinstance(part, dpnb.AutoencoderKL):
        os.kill(os.getpid(), signal.SIGKILL)
saving.save_component = killed
pipe.save_pretrained(sys.argv[1])
"""


@contextmanager
def full_disk(room: int = 64) -> Iterator[None]:
    """Within it no file grows beyond so many bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def pipe() -> Any:
    pipe: Any = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def table(pipe: Any) -> PlanTable:
    return dpnb.plan(pipe, height=32, width=32, steps=2, device="RTX 3060")


def measured(table: PlanTable) -> Report:
    row = table.rows[0]
    done = Measurement(row.plan, "finished", row.peaks, 1.0, 0.5, 0.1, predicted=row)
    return Report(table=table, measurements=(done,))


def draw(pipe: Any, folder: Path) -> None:
    drawing = Drawing("sun", None, 0, 1, 1.0, 32, 32, name="sun.png")
    draw_prompts(pipe, [drawing], folder, "model", lambda steps, _: list(steps)[-1].output.images)


def write_pipeline_file(folder: Path) -> None:
    write_json(folder.parent / "index.json", {"_class_name": "x" * 200})
    write_dduf(folder / "a.dduf", [("model_index.json", folder.parent / "index.json")])


NOISE = Image.frombytes("RGB", (64, 64), os.urandom(3 * 64 * 64))

SAVES: dict[str, Callable[[Path, Any, PlanTable], object]] = {
    "trace": lambda folder, pipe, table: TRACE.save(folder / "trace.json"),
    "plans": lambda folder, pipe, table: table.save(folder / "plans.json"),
    "sweep": lambda folder, pipe, table: measured(table).save(folder / "sweep.json"),
    "report": lambda folder, pipe, table: measured(table).write(folder),
    "figure-png": lambda folder, pipe, table: cli.save_picture(NOISE, folder / "a.png"),
    "figure-jpg": lambda folder, pipe, table: cli.save_picture(NOISE, folder / "a.jpg"),
    "figure-bmp": lambda folder, pipe, table: cli.save_picture(NOISE, folder / "a.bmp"),
    "prompts": lambda folder, pipe, table: draw(pipe, folder),
    "page": lambda folder, pipe, table: write_page(folder, "dpnb/emoji-64"),
    "settings": lambda folder, pipe, table: DDIMScheduler().save_pretrained(folder),
    "weights": lambda folder, pipe, table: write_weights({"a": torch.ones(99)}, folder, "model"),
    "bin": lambda folder, pipe, table: write_weights(
        {"a": torch.ones(99)}, folder, "model", safe_serialization=False
    ),
    "colours": lambda folder, pipe, table: LatentColours(((0.1, 0.2, 0.3),) * 5).save(folder),
    "dduf": lambda folder, pipe, table: write_pipeline_file(folder),
    "pipeline": lambda folder, pipe, table: pipe.save_pretrained(folder),
    "pipeline-dduf": lambda folder, pipe, table: pipe.save_pretrained(folder / "a.dduf"),
    "tokenizer": lambda folder, pipe, table: save_tokenizer(build_tokenizer(["sun"]), folder),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [name for name in SAVES if name != "page"])
def test_a_full_disk_leaves_every_kind_of_file_as_it_was(
    name: str, tmp_path: Path, pipe: Any, table: PlanTable
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    SAVES[name](folder, pipe, table)
    for path in (path for path in folder.rglob("*") if path.is_file()):
        path.write_bytes(b"former")
    before = contents(tmp_path)
    with full_disk(), pytest.raises(DpnbError, match=r"is untouched\. Free some space"):
        SAVES[name](folder, pipe, table)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", SAVES)
def test_a_full_disk_leaves_no_beginning_of_a_file(
    name: str, tmp_path: Path, pipe: Any, table: PlanTable
) -> None:
    (tmp_path / "out").mkdir()
    with full_disk(), pytest.raises(DpnbError, match=r"is untouched\. Free some space"):
        SAVES[name](tmp_path / "out", pipe, table)
    assert contents(tmp_path / "out") == {}


def test_saves_of_checkpoints_say_so_in_their_own_class(tmp_path: Path, pipe: Any) -> None:
    for target in (tmp_path / "folder", tmp_path / "a.dduf"):
        with full_disk(), pytest.raises(CheckpointError, match=f"{target} could not be saved"):
            pipe.save_pretrained(target)


def test_a_killed_write_leaves_the_former_file_and_the_next_clears_up(tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    file.write_text("former")
    run = subprocess.run([sys.executable, "-c", KILLED, str(file)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert file.read_text() == "former"
    assert len(contents(tmp_path)) == 2
    write_text(file, "new")
    assert contents(tmp_path) == {"trace.json": b"new"}


def test_a_write_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with write_atomically(file) as slow:
        slow.write(b"slow")
        write_text(file, "quick")
        assert file.read_text() == "quick"
    assert contents(tmp_path) == {"a.json": b"slow"}


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupt_or_error_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        write_half(tmp_path / "a.json", error)
    assert contents(tmp_path) == {}


def write_half(path: Path, error: type[BaseException]) -> None:
    with write_atomically(path) as file:
        file.write(b"half")
        raise error


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("mine")
    for name in ("a.json", ".a.json.part", "a.json.part", ".a.json.0123456789abcdef.part"):
        (out / name).symlink_to(victim)
    write_text(out / "a.json", "new")
    assert victim.read_text() == "mine"
    assert (out / "a.json").read_text() == "new"
    assert not (out / "a.json").is_symlink()


def test_a_pipe_or_device_in_place_of_a_leftover_does_not_stop_a_save(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".a.json.0123456789abcdef.part")
    write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "new"


def test_the_mode_is_the_former_files_or_what_new_files_have(tmp_path: Path) -> None:
    plain, file = tmp_path / "plain", tmp_path / "a.json"
    plain.touch()
    write_text(file, "new")
    assert file.stat().st_mode == plain.stat().st_mode
    file.chmod(0o640)
    write_text(file, "newer")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["a" * 250 + ".json", "ä" * 120 + ".js", "a.part", ".hidden"])
def test_names_of_any_length_can_be_written(tmp_path: Path, name: str) -> None:
    for content in (b"1", b"2"):
        write_bytes(tmp_path / "new" / name, content)
    assert contents(tmp_path) == {f"new/{name}": b"2"}


def test_a_device_is_written_to_and_stays_one() -> None:
    write_text("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(SaveError, match="/dev/full could not be saved"):
        write_text("/dev/full", "no room")
    assert Path("/dev/full").is_char_device()


def test_an_open_file_is_written_to_under_the_name_that_the_system_gives_it(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        write_text(f"/proc/self/fd/{file.fileno()}", "text")
    assert (tmp_path / "out").read_text() == "text"


def test_a_place_that_cannot_be_written_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
        write_text(tmp_path, "text")
    for inside in ("a.json", "b/a.json"):
        with pytest.raises(SaveError, match=r"cannot be written: \S+file is a file; choose"):
            write_text(tmp_path / "file" / inside, "text")
    with pytest.raises(SaveError, match=r"cannot be written \(File name too long\)"):
        write_text(tmp_path / ("a" * 300), "text")


def test_a_trace_that_could_not_be_saved_can_be_saved_again(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(SaveError):
        TRACE.save(tmp_path / "trace.json")
    TRACE.save(tmp_path / "trace.json")
    assert Trace.load(tmp_path / "trace.json") == TRACE


@pytest.mark.slow
def test_a_dduf_file_whose_save_was_killed_leaves_nothing_once_another_is_saved(
    tmp_path: Path, pipe: Any
) -> None:
    command = [sys.executable, "-c", KILLED_DDUF, str(tmp_path / "a.dduf")]
    run = subprocess.run(command, check=False)
    assert run.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    pipe.save_pretrained(tmp_path / "a.dduf")
    assert [path.name for path in tmp_path.iterdir()] == ["a.dduf"]


def writes(path: Path) -> Iterator[int]:
    """The lines of a source file that write to a file by its name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            modes = [str(a.value) for a in node.args if isinstance(a, ast.Constant)]
            is_open = node.func.attr == "open" and any(mode[:1] in "wax" for mode in modes if mode)
            if is_open or node.func.attr in ("write_text", "write_bytes"):
                yield node.lineno


def test_no_other_part_of_the_package_writes_files_by_itself() -> None:
    sources = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    found = {name: list(writes(path)) for name, path in sources.items()}
    assert {name for name, lines in found.items() if lines} == WRITERS
