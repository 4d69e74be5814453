"""Whether a long session stays quick: 200 runs of the emoji model on one dashboard in a browser.

Prints seconds for each run and the browser's memory, of the first runs after the history is full
and of the last ones. Run with `python -m tests.benchmarks.bench_long_session [runs]`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from playwright.sync_api import sync_playwright

from dpnb.lab import write_page
from dpnb.widgets.run_monitor import KEPT
from tests.browser.servers import FLAGS, HANGING, chromium, voila

GROUP = 20
"""Runs of which the median is told."""


def measure(page: Any, runs: int) -> tuple[list[float], list[float]]:
    """Seconds of each run as a person waits for it, and MiB of the page's scripts after it."""
    board = page.locator(".dpnb-grid")
    steps = board.locator(".dpnb-run").get_by_role("spinbutton", name="Steps")
    steps.fill("2")
    steps.press("Tab")
    seconds, memory = [], []
    for number in range(1, runs + 1):
        started = perf_counter()
        board.locator(".dpnb-go").first.click()
        row = board.locator(".dpnb-history .dpnb-row").first
        row.get_by_text(re.compile(rf"^Run {number}$")).wait_for()
        seconds.append(perf_counter() - started)
        used = page.evaluate("() => performance.memory.usedJSHeapSize")
        memory.append(used / 2**20)
    return seconds, memory


def main(runs: int) -> None:
    """Draw so many times, and print what it has cost in the beginning and in the end."""
    flags = [*FLAGS, "--enable-precise-memory-info", "--js-flags=--expose-gc"]
    with TemporaryDirectory() as name, sync_playwright() as driver:
        file = write_page(Path(name) / "pages", "dpnb/emoji-64")
        browser = driver.chromium.launch(executable_path=chromium(), args=flags)
        with voila(file, Path(name) / "jupyter") as address:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(1000 * HANGING)
            page.goto(address)
            page.locator(".dpnb-go").first.wait_for()
            seconds, memory = measure(page, runs)
        browser.close()
    early = slice(KEPT, KEPT + GROUP)
    for words, values, unit in (("a run", seconds, "s"), ("the page", memory, "MiB")):
        first, last = median(values[early]), median(values[-GROUP:])
        print(f"{words}: {first:.3g} {unit} early, {last:.3g} {unit} late, {last / first:.2f} ×")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
