"""A plugin of pytest: results of tests as rows, and pairs of strategies in an order of their own.

`-p tests.gpu.pytest_rows` with the file for the rows as `DPNB_TEST_ROWS` in the environment.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.gpu.rows import Rows

AT_A_TIME = 40
"""Tests of one pipeline in a row, which is built for them."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where time may end before the tests do, those that were run are a sample of all."""
    pairs = [item for item in items if item.get_closest_marker("pairs")]
    by_pipeline: dict[str, list[pytest.Item]] = {}
    for item in pairs:
        by_pipeline.setdefault(_pipeline_of(item), []).append(item)
    mixed: list[tuple[int, pytest.Item]] = []
    for found in by_pipeline.values():
        random.Random(0).shuffle(found)
        mixed += [(place // AT_A_TIME, item) for place, item in enumerate(found)]
    mixed.sort(key=lambda one: one[0])
    others = [item for item in items if not item.get_closest_marker("pairs")]
    items[:] = [*others, *(item for _, item in mixed)]


def _pipeline_of(item: pytest.Item) -> str:
    """Which pipeline a test asks for, by the parameter of that fixture."""
    return str(item.callspec.params["resident"]) if isinstance(item, pytest.Function) else ""


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """A row for each test, by the process that hears of all of them."""
    path = os.environ.get("DPNB_TEST_ROWS")
    if path is None or "PYTEST_XDIST_WORKER" in os.environ:
        return
    if report.when == "call" or report.outcome != "passed":
        Rows(Path(path)).add(
            "tests", test=report.nodeid, outcome=report.outcome, why=_last_line(report)
        )


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """A file that cannot be collected is a failure too, unless a package is not there."""
    path = os.environ.get("DPNB_TEST_ROWS")
    if path is None or "PYTEST_XDIST_WORKER" in os.environ or not report.failed:
        return
    why = report.longreprtext.strip().splitlines()[-1].removeprefix("E").strip()[:200]
    outcome = "left out" if why.startswith("ModuleNotFoundError") else "failed"
    Rows(Path(path)).add("tests", test=report.nodeid, outcome=outcome, why=why)


def _last_line(report: pytest.TestReport) -> str:
    """What failed, in a line."""
    lines = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
    return lines[0].removeprefix("E").strip()[:200] if lines else ""
