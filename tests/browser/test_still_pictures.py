"""What is left of a dashboard in a notebook that is saved, opened again and exported."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dpnb.lab import make_page
from dpnb.widgets.snapshot import WIDTH
from tests.browser.conftest import Complaints, told
from tests.browser.servers import HANGING, environment, jupyterlab
from tests.browser.test_lab import READY

RUNS = 12
"""Runs after which a notebook is as large as after one."""

STILL = f'img[width="{WIDTH}"]'
SAVED = "async () => jupyterapp.commands.execute('docmanager:save')"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the notebook, which has been saved after some runs."""
    folder = tmp_path_factory.mktemp("still")
    (folder / "notebooks").mkdir()
    page = make_page("dpnb/emoji-64")
    page["cells"][0]["source"][-1] = "board = dpnb.dashboard(pipe, dpnb.Request('a pear', steps=2))"
    page["cells"][0]["source"].append("\nboard")
    (folder / "notebooks" / "board.ipynb").write_text(json.dumps(page))
    return folder


@pytest.fixture(scope="module")
def lab(browser: Any, folder: Path) -> Iterator[str]:
    with jupyterlab(folder / "notebooks", folder / "jupyter") as address:
        yield address


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1500, "height": 1400})
    page.set_default_timeout(1000 * HANGING)
    with told(browser):
        yield page
    page.close()


def outputs(folder: Path) -> list[dict[str, Any]]:
    """Of the saved notebook's cell."""
    saved = json.loads((folder / "notebooks" / "board.ipynb").read_text())
    found: list[dict[str, Any]] = saved["cells"][0]["outputs"]
    return [one for one in found if one["output_type"] != "stream"]


def draw(page: Any, run: int) -> None:
    page.get_by_role("button", name="Generate", exact=True).click()
    page.locator(".dpnb-history .dpnb-row").nth(run - 1).wait_for()
    page.get_by_role("button", name="Generate", exact=True).wait_for()


def save_after(page: Any, folder: Path, words: str) -> dict[str, Any]:
    """Save until the still picture says that; what it is then."""
    for _ in range(HANGING):
        page.evaluate(SAVED)
        _, still = outputs(folder)
        said = "".join(still["data"]["text/plain"])
        if re.search(words, said):
            return still
        page.wait_for_timeout(100)
    raise AssertionError(said)


def test_a_dashboard_shown_before_the_first_run_is_saved_with_its_last_state(
    page: Any, lab: str, folder: Path
) -> None:
    complaints = Complaints(page)
    page.goto(f"{lab}tree/board.ipynb?reset")
    page.wait_for_function(READY)
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
    page.get_by_role("button", name="Generate", exact=True).wait_for()
    save_after(page, folder, "nothing has been drawn yet")
    assert page.locator(STILL).count() == 1
    assert not page.locator(STILL).is_visible()
    page.get_by_role("checkbox", name="VAE tiling", exact=True).check()
    draw(page, 1)
    first = save_after(page, folder, "a pear.*Drawn in.*VAE tiling")
    for run in range(2, RUNS + 1):
        draw(page, run)
    page.get_by_role("checkbox", name="VAE tiling", exact=True).uncheck()
    last = save_after(page, folder, "a pear.*Drawn in.*nothing switched on")
    assert len(outputs(folder)) == 2
    assert len(json.dumps(last)) < 1.5 * len(json.dumps(first))
    assert not page.locator(STILL).is_visible()
    assert Image.open(io.BytesIO(base64.b64decode(last["data"]["image/png"]))).width > WIDTH
    assert complaints.heard == []


def test_opened_again_without_its_kernel_the_picture_is_seen(
    page: Any, lab: str, folder: Path
) -> None:
    (folder / "notebooks" / "again.ipynb").write_bytes(
        (folder / "notebooks" / "board.ipynb").read_bytes()
    )
    page.goto(f"{lab}tree/again.ipynb?reset")
    page.wait_for_function(READY)
    still = page.locator(STILL)
    still.wait_for()
    assert still.bounding_box()["width"] == WIDTH
    assert page.locator(".dpnb").count() == 0


def test_an_export_holds_the_picture(page: Any, folder: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "nbconvert", "--to=html", "board.ipynb"],
        cwd=folder / "notebooks", env=environment(folder / "jupyter"), check=True,
        capture_output=True,
    )  # fmt: skip
    page.goto((folder / "notebooks" / "board.html").as_uri())
    still = page.locator(STILL)
    still.wait_for()
    assert still.bounding_box()["width"] == WIDTH
