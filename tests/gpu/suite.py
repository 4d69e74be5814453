"""Tests that are marked `gpu`, with their results as they come."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.gpu.rows import Rows, read_rows
from tests.gpu.setting import Setting, missing

TESTS, FAILED = "Tests", "Tests that failed"

ROOT = Path(__file__).parent.parent.parent

MOST_WORKERS = 8

GOODBYE_S = 2.0

WITHOUT_PAIRS = "gpu and not pairs and not full_size"
DRY = "not slow"

MARK = "mark." + "gpu"

PAIRS_FILE = "tests/strategies/test_cuda.py"

DRY_FILES = ("tests/metering/test_cuda.py",)


def measure(setting: Setting, rows: Rows) -> None:
    """The part."""
    if setting.is_dry:
        run_tests(DRY, list(DRY_FILES), setting, rows)
    elif setting.options["tests"] == "pairs":
        run_tests("gpu and pairs", [PAIRS_FILE], setting, rows)
    else:
        is_all = "all_tests" in setting.options
        run_tests("gpu" if is_all else WITHOUT_PAIRS, find_files(), setting, rows)


def run_tests(chosen: str, files: list[str], setting: Setting, rows: Rows) -> None:
    """Run tests as far as time allows, with a row for each that fails, and one for all.

    Args:
        chosen: which, as an expression of pytest's markers.
        files: where they are.
        setting: how much time there is.
        rows: for what is found.

    Raises:
        RuntimeError: none was run.
    """
    with TemporaryDirectory(prefix="dpnb-gpu-tests-") as folder:
        found = Path(folder) / "tests.jsonl"
        process = _start(chosen, files, found, setting)
        reporting = _Reporting(rows, found)
        while process.poll() is None and setting.left > 0:
            reporting.read()
            time.sleep(0.2)
        is_whole = process.poll() is not None
        _interrupt(process)
        reporting.read()
    ended = f"all of them, exit status {process.returncode}" if is_whole else "no time left"
    counts = reporting.counts()
    rows.add(TESTS, chosen=chosen, **counts, ended=ended)
    if is_whole and not counts["run"]:
        raise RuntimeError(f"pytest has run no test (exit status {process.returncode})")


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    """End pytest, which says what it has done so far."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(GOODBYE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def find_files() -> list[str]:
    """The test files with a test that needs a GPU."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(f.relative_to(ROOT)) for f in files if MARK in f.read_text()]


def _start(
    expression: str, files: list[str], found: Path, setting: Setting
) -> subprocess.Popen[bytes]:
    """Pytest without what this machine may lack; warnings are no errors for this once."""
    command = [sys.executable, "-m", "pytest", "-m", expression, "-q", "--tb=short"]
    command += ["-o", "addopts=", "-o", "filterwarnings=", "-p", "no:cacheprovider"]
    command += ["-p", "tests.gpu.pytest_rows", "--continue-on-collection-errors", "--durations=10"]
    workers = 1 if setting.is_dry else min(MOST_WORKERS, (os.cpu_count() or 2) // 2)
    if workers > 1 and not missing("xdist"):
        command += ["-n", str(workers)]
    if not missing("pytest_timeout"):
        command += ["--timeout", "60"]
    # Another pytest may have started this one, and have told it of itself.
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.Popen(
        [*command, *files],
        cwd=ROOT,
        env={**own, "DPNB_TEST_ROWS": str(found)},
        stdin=subprocess.DEVNULL,
    )


class _Reporting:
    """Rows of failures as they come, and counts of all outcomes."""

    def __init__(self, rows: Rows, found: Path) -> None:
        self._rows, self._found = rows, found
        self._outcomes: Counter[str] = Counter()
        self._known = 0

    def read(self) -> None:
        """Take what is new."""
        every = read_rows(self._found)
        for row in every[self._known :]:
            self._outcomes[str(row["outcome"])] += 1
            if row["outcome"] == "failed":
                self._rows.add(FAILED, test=row["test"], failed=row["why"])
            elif row["outcome"] == "left out":
                self._rows.leave_out(f"tests of {row['test']}", str(row["why"]))
        self._known = len(every)

    def counts(self) -> dict[str, int]:
        """How many tests have had each outcome."""
        return {
            "run": sum(self._outcomes.values()) - self._outcomes["left out"],
            "passed": self._outcomes["passed"],
            "not_passed": self._outcomes["failed"],
            "skipped": self._outcomes["skipped"],
        }
