"""The dashboard in a notebook of JupyterLab, where widgets' messages come in another way."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.browser import pages
from tests.browser.board import SEEN_AT_ONCE
from tests.browser.conftest import Complaints, begin, let_go
from tests.browser.servers import HANGING, jupyterlab

READY = """() => window.jupyterapp
  && jupyterapp.shell.currentWidget && jupyterapp.shell.currentWidget.sessionContext
  && jupyterapp.shell.currentWidget.sessionContext.session
  && jupyterapp.shell.currentWidget.sessionContext.session.kernel
  && jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"""


def test_the_dashboard_lives_in_a_notebook(browser: Any, tmp_path: Path) -> None:
    notebook = pages.write(tmp_path / "notebooks")
    with jupyterlab(notebook.parent, tmp_path / "jupyter", theme="JupyterLab Dark") as address:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(1000 * HANGING)
        complaints = Complaints(page)
        page.goto(f"{address}tree/{notebook.name}?reset")
        page.wait_for_function(READY)
        page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells')")
        board = page.locator(".dpnb-grid")
        begin(page)
        for name in ("Attention slicing", "VAE tiling"):
            board.get_by_role("checkbox", name=name, exact=True).click()
            board.locator(".dpnb-switches .dpnb-wait").filter(has_text=name).first.wait_for()
        let_go(page)
        page.locator(".kernel", has_text="VaeTiling").wait_for()
        board.get_by_text(re.compile("Drawn in")).wait_for()
        marks = board.locator(".dpnb-memory .dpnb-mark:visible text").all_text_contents()
        assert marks == ["Attention slicing on", "VAE tiling on"]
        page.wait_for_function(f"() => ({SEEN_AT_ONCE})().every(Boolean)")
        begin(page)
        board.get_by_role("button", name="Stop").click()
        board.get_by_text("Stopping after this step").first.wait_for()
        let_go(page)
        board.get_by_text(re.compile(r"Stopped after \d+ steps")).wait_for()
        colour = board.locator("h3").first.evaluate("e => getComputedStyle(e).color")
        assert min(int(part) for part in re.findall(r"\d+", colour)[:3]) > 150
        assert complaints.heard == []
        page.close()
