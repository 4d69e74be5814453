"""A browser, and pages of servers on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import pages
from tests.browser.servers import FLAGS, chromium, voila

HOW = "python -m tests.browser.install"


def missing() -> str | None:
    """What browser tests lack here, and how to get it."""
    try:
        import jupyterlab  # noqa: F401
        import playwright  # noqa: F401
        import voila  # noqa: F401
    except ImportError as error:
        return f'{error.name} is not installed; run: pip install -e ".[test]"'
    if chromium() is None:
        return f"there is no Chromium; run: {HOW}"
    return None


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    reason = missing()
    if reason is not None:
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chrome = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield chrome
        chrome.close()


class Complaints:
    """What a page's console says is wrong; what other sites do not answer is not our matter."""

    def __init__(self, page: Any) -> None:
        self.heard: list[str] = []
        page.on("pageerror", lambda error: self.heard.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, message: Any) -> None:
        address = message.location.get("url", "")
        if message.type == "error" and address.startswith("http://127.0.0.1"):
            self.heard.append(f"{message.text} at {address}")


@pytest.fixture(scope="session")
def served(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the test page, served by Voila."""
    folder = tmp_path_factory.mktemp("voila")
    with voila(pages.write(folder / "pages"), folder / "jupyter") as address:
        yield address


@pytest.fixture(scope="session")
def opened(browser: Any, served: str) -> Iterator[Any]:
    """The test page, and what it has complained of."""
    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    page.set_default_timeout(30_000)
    complaints = Complaints(page)
    page.goto(served)
    page.get_by_role("button", name="Generate").wait_for(timeout=90_000)
    yield page, complaints
    page.close()


@pytest.fixture
def page(opened: Any) -> Iterator[Any]:
    """The test page with nothing switched on; the console must stay silent."""
    page, complaints = opened
    complaints.heard.clear()
    yield page
    board = page.locator(".dpnb-grid")
    stop = board.get_by_role("button", name="Stop")
    if stop.is_enabled():
        stop.click()
    board.get_by_role("button", name="Generate").wait_for()
    board.get_by_role("button", name="Nothing").click()
    board.get_by_text("Nothing is switched on.").wait_for()
    assert complaints.heard == []
