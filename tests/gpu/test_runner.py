"""Parts run within their time, whatever becomes of one of them, and nothing that was found is lost.

`DPNB_GPU_DRY_RUN=all` runs all parts on the CPU instead of one, which takes a minute.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.gpu.__main__ import main, make_parser
from tests.gpu.parts import PARTS, Part, choose_parts
from tests.gpu.processes import PartProcess
from tests.gpu.results import DONE, JSON_FILE, LOG_FILE, MARKDOWN_FILE, PartResult, Results
from tests.gpu.runner import Runner
from tests.gpu.setting import Setting

FAULTY = "tests.gpu.faulty"

HANGS = Part("hang", "A part that hangs", 60, 1, f"{FAULTY}:hang", dry=4)
CRASHES = Part("crash", "A part that crashes", 60, 1, f"{FAULTY}:crash")
FAILS = Part("fail", "A part that fails", 60, 1, f"{FAULTY}:fail")
FINISHES = Part("finish", "A part that goes well", 60, 1, f"{FAULTY}:finish")


def is_alive(process: int) -> bool:
    """Whether a process computes: one that is dead may wait to be reaped."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_whatever_becomes_of_a_part_the_rest_goes_on(tmp_path: Path) -> None:
    lines: list[str] = []
    real = PARTS if os.environ.get("DPNB_GPU_DRY_RUN") == "all" else choose_parts(["sd15"])
    runner = Runner(tmp_path, 9, is_dry=True, say=lines.append)
    results = runner.run([HANGS, CRASHES, FAILS, FINISHES, *real])
    assert results.parts["hang"].status == "stopped at its limit of 4 s"
    assert results.parts["crash"].status == "crashed (SIGSEGV)"
    assert results.parts["fail"].status == "failed: RuntimeError: the last words of a part"
    for name in ("hang", "crash", "fail", "finish"):
        assert len(results.parts[name].rows) == 1
    (hung,) = results.parts["hang"].rows
    assert not is_alive(int(str(hung["process"])))
    assert "in hang" in (tmp_path / LOG_FILE).read_text()
    assert {results.parts[part.name].status for part in (FINISHES, *real)} == {DONE}
    assert Results.load(tmp_path) == results
    markdown = (tmp_path / MARKDOWN_FILE).read_text()
    for part in (HANGS, CRASHES, FAILS, FINISHES, *real):
        assert f"## {part.title}\n" in markdown
        assert any(line.startswith(f"{part.name}: ") for line in lines)
        assert results.parts[part.name].rows
    assert "ValueError: a part goes on after this (faulty.py:" in markdown
    measured = results.parts["sd15"].rows
    assert len(measured) == 5
    assert all(int(str(row["allocated_bytes"])) > 1 << 20 for row in measured)


def test_there_is_no_part_without_time(tmp_path: Path) -> None:
    results = Runner(tmp_path, 0.001, say=lambda line: None).run(choose_parts([]))
    assert {part.status for part in results.parts.values()} == {"skipped: no time left"}
    assert Results.load(tmp_path) == results
    assert not (tmp_path / LOG_FILE).exists()


def test_parts_shrink_for_those_after_them(tmp_path: Path) -> None:
    first = Part("first", "One", 60, 1, f"{FAULTY}:finish")
    last = Part("last", "Another", 60, 20, f"{FAULTY}:finish")
    results = Runner(tmp_path, 0.5, say=lambda line: None).run([first, last])
    assert 9 < results.parts["first"].limit <= 10
    assert 20 < results.parts["last"].limit < 30


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    before = PartResult(FINISHES.title, DONE, rows=[{"table": "Found", "what": "before"}])
    crashed = PartResult(CRASHES.title, "crashed (SIGSEGV)")
    Results({"finish": before, "crash": crashed}).save(tmp_path)
    again = Part("crash", CRASHES.title, 60, 1, f"{FAULTY}:finish")
    lines: list[str] = []
    runner = Runner(tmp_path, 1, say=lines.append, results=Results.load(tmp_path))
    results = runner.run([FINISHES, again])
    assert results.parts["finish"] == before
    assert results.parts["crash"].status == DONE
    assert lines[0] == "finish: done before"


@pytest.mark.slow
def test_who_is_told_to_leave_leaves_what_was_found(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom tests.gpu import __main__ as it, test_runner as tests\n"
        "it.choose_parts = lambda names: (tests.HANGS,)\n"
        f"sys.exit(it.main(['--dry-run', '--out', {str(tmp_path)!r}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
    ends = time.monotonic() + 60
    while not find_hung(tmp_path) and time.monotonic() < ends:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 128 + signal.SIGTERM
    hung = Results.load(tmp_path).parts["hang"]
    assert hung.status == "stopped: all of it was"
    assert not is_alive(int(str(hung.rows[0]["process"])))


def find_hung(folder: Path) -> bool:
    """Whether what the part that hangs has found is on the disk."""
    file = folder / JSON_FILE
    return file.exists() and bool(json.loads(file.read_text())["parts"]["hang"]["rows"])


def test_a_process_says_what_has_become_of_it(tmp_path: Path) -> None:
    setting = Setting(str(tmp_path), 60, is_dry=True)
    process = PartProcess(f"{FAULTY}:finish", setting, tmp_path / "rows", tmp_path / "log")
    while (status := process.poll()) is None:
        time.sleep(0.05)
    assert status == DONE
    (row,) = process.rows
    assert row["share_percent"] == "nan"


def test_help_says_what_every_part_may_take() -> None:
    said = make_parser().format_help()
    for part in PARTS:
        assert part.title in said
        assert f"at most {part.limit:.0f} s" in said
    assert sum(part.least for part in PARTS if not part.is_beside) < 9 * 60


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--minutes", "0"], "--minutes is 0; give a number above 0, such as 9."),
        (["--parts", "facts,else"], "else: no such part; the parts are facts, predictions, "),
        (["--resume"], "holds no results of `python -m tests.gpu`"),
    ],
)
def test_a_bad_word_is_answered_by_a_sentence(
    arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / JSON_FILE).write_text('{"parts": {"facts": 1}}')
    with pytest.raises(SystemExit):
        main(["--dry-run", "--out", str(tmp_path), *arguments])
    assert sentence in capsys.readouterr().err
