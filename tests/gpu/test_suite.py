"""Tests are run by pytest as it is, with their results as they come."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.pytest_rows import AT_A_TIME
from tests.gpu.rows import LEFT_OUT, Row, Rows, read_rows
from tests.gpu.setting import Setting
from tests.gpu.suite import FAILED, PAIRS_FILE, TESTS, find_files, run_tests

OUTCOMES = """
import warnings, pytest

def test_passes(): warnings.warn("nobody can act on this")
def test_fails(): assert 1 == 2, "one is two"
def test_skips(): pytest.skip("not here")
"""

PLANS = AT_A_TIME + 10

MARKED = f"""
import pytest

@pytest.fixture(scope="module", params=["tiny-one", "tiny-other"])
def resident(request):
    with open(__file__ + ".order", "a") as file:
        file.write("built ")
    return request.param

@pytest.mark.parametrize(
    "plan", [-1, *(pytest.param(n, marks=pytest.mark.pairs) for n in range({PLANS}))]
)
def test_all(resident, plan):
    with open(__file__ + ".order", "a") as file:
        file.write(f"{{resident}}:{{plan}} ")
"""


def run(folder: Path, chosen: str, seconds: float, **files: str) -> dict[str, Row]:
    """The last row of each table, of a run of test files with these names and texts."""
    paths = [folder / f"test_{name}.py" for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text)
    setting = Setting(str(folder), seconds, is_dry=True)
    run_tests(chosen, [str(path) for path in paths], setting, Rows(folder / "rows"))
    return {str(row["table"]): row for row in read_rows(folder / "rows")}


@pytest.mark.slow
def test_results_come_one_by_one(tmp_path: Path) -> None:
    found = run(tmp_path, "not slow", 60, lacking="import a_package_of_nobody", out=OUTCOMES)
    assert "a_package_of_nobody" in str(found[LEFT_OUT]["why"])
    assert str(found[FAILED]["test"]).endswith("::test_fails")
    assert "one is two" in str(found[FAILED]["failed"])
    counts = {key: found[TESTS][key] for key in ("run", "passed", "not_passed", "skipped")}
    assert counts == {"run": 3, "passed": 1, "not_passed": 1, "skipped": 1}
    assert found[TESTS]["ended"] == "all of them, exit status 1"


@pytest.mark.slow
def test_pairs_come_in_turns_of_each_pipeline(tmp_path: Path) -> None:
    found = run(tmp_path, "pairs", 60, marked=MARKED)
    assert (found[TESTS]["run"], found[TESTS]["passed"]) == (2 * PLANS, 2 * PLANS)
    done = (tmp_path / "test_marked.py.order").read_text()
    turns = [turn.split() for turn in done.split("built ")[1:]]
    assert [len(turn) for turn in turns] == [AT_A_TIME, AT_A_TIME, 10, 10]
    assert [{test.partition(":")[0] for test in turn} for turn in turns] == [
        {"tiny-one"},
        {"tiny-other"},
    ] * 2
    plans = [int(test.partition(":")[2]) for test in turns[0]]
    assert plans != sorted(plans)


def test_tests_that_need_a_gpu_are_found() -> None:
    found = find_files()
    assert {"tests/metering/test_cuda.py", "tests/strategies/test_moving.py"} < set(found)
    assert PAIRS_FILE in found
    assert not any("tests/gpu" in file for file in found)
