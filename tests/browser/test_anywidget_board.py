"""The board that is one anywidget, in marimo and in JupyterLab."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dpnb.lab import make_page
from tests.browser.conftest import Complaints, told
from tests.browser.servers import HANGING, jupyterlab, marimo
from tests.browser.test_lab import READY
from tests.browser.test_voila import UNNAMED

PICTURES = os.environ.get("DPNB_PICTURES")
"""A folder for pictures of the pages, where somebody wants to look at them."""

STEPS = 150
"""Of a run that is to be stopped: more than anybody waits for."""

SOURCE = """import dpnb
pipe = dpnb.DiffusionPipeline.from_pretrained("dpnb/emoji-64")
pipe.set_progress_bar_config(disable=True)
board = dpnb.marimo_dashboard(pipe, dpnb.Request("a red apple", steps=4))
board
"""

PAGE = """import marimo

app = marimo.App(width="full")


@app.cell
def _():
{cell}
    return


if __name__ == "__main__":
    app.run()
"""


@contextmanager
def in_marimo(page: Any, folder: Path) -> Iterator[None]:
    file = folder / "page.py"
    file.write_text(PAGE.format(cell="".join(f"    {line}\n" for line in SOURCE.splitlines())))
    with marimo(file, folder / "marimo") as address:
        page.goto(address)
        yield


@contextmanager
def in_jupyterlab(page: Any, folder: Path) -> Iterator[None]:
    notebook = make_page("dpnb/emoji-64")
    notebook["cells"][0]["source"] = SOURCE
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "board.ipynb").write_text(json.dumps(notebook))
    with jupyterlab(folder / "notebooks", folder / "jupyter") as address:
        page.goto(f"{address}tree/board.ipynb?reset")
        page.wait_for_function(READY)
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        yield


@pytest.mark.parametrize("host", [in_marimo, in_jupyterlab])
def test_it_draws_is_switched_stopped_and_restored(browser: Any, tmp_path: Path, host: Any) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 1300})
    page.set_default_timeout(1000 * HANGING)
    complaints = Complaints(page)
    with told(browser), host(page, tmp_path):
        use(page)
        if PICTURES is not None:
            page.screenshot(path=Path(PICTURES) / f"{host.__name__}.png", full_page=True)
        assert complaints.heard == []
    page.close()


def use(page: Any) -> None:
    board = page.locator(".dpnb-web")
    generate = board.get_by_role("button", name="Generate", exact=True)
    generate.click()
    picture = board.get_by_role("img", name="Picture of a red apple")
    picture.wait_for()
    assert picture.evaluate("image => image.naturalWidth") == 64
    board.get_by_role("img", name="Memory (").wait_for()
    board.get_by_role("checkbox", name="VAE tiling").check()
    board.get_by_role("textbox", name="Prompt").fill("a pear")
    generate.wait_for()
    board.get_by_role("textbox", name="Prompt").press("Enter")
    second = board.locator(".dpnb-row").filter(has_text="2: VAE tiling")
    second.filter(has_text="a pear").wait_for()
    stop(page, board)
    board.get_by_role("button", name="Restore run 1").click()
    page.wait_for_function(
        "box => !box.checked",
        arg=board.get_by_role("checkbox", name="VAE tiling").element_handle(),
    )
    prompt = board.get_by_role("textbox", name="Prompt")
    page.wait_for_function("e => e.value === 'a red apple'", arg=prompt.element_handle())
    controls = board.locator("input, button")
    assert controls.count() > 15
    assert controls.evaluate_all(UNNAMED) == []


def stop(page: Any, board: Any) -> None:
    """Begin a long run, flip a switch in it, and stop it."""
    board.get_by_role("spinbutton", name="Steps").fill(str(STEPS))
    board.get_by_role("button", name="Generate", exact=True).click()
    board.get_by_text(f"of {STEPS}").first.wait_for()
    board.get_by_role("checkbox", name="FreeU", exact=True).check()
    board.locator(".dpnb-mark text").filter(has_text="FreeU on").wait_for()
    board.get_by_role("button", name="Stop").click()
    board.get_by_text("Stopped after").first.wait_for()
    board.get_by_role("button", name="Generate", exact=True).wait_for()
