"""A browser, and pages of servers on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.browser import pages
from tests.browser.evidence import seen
from tests.browser.servers import FLAGS, HANGING, chromium, voila

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


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Iterator[Any]:
    """Say what is on the pages when a test fails that has a browser."""
    chrome = pyfuncitem.funcargs.get("browser")
    if chrome is None:
        return (yield)
    with told(chrome):
        return (yield)


@contextmanager
def told(browser: Any) -> Iterator[None]:
    """Say what is on the pages when something fails within."""
    from playwright.sync_api import Error

    try:
        yield
    except (AssertionError, Error) as failure:
        raise AssertionError(f"{failure}\n{seen(browser)}") from failure


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
    page.set_default_timeout(1000 * HANGING)
    complaints = Complaints(page)
    with told(browser):
        page.goto(served)
        page.get_by_role("button", name="Generate").wait_for()
    yield page, complaints
    page.close()


@pytest.fixture
def page(opened: Any, browser: Any) -> Iterator[Any]:
    """The test page with nothing switched on; the console must stay silent."""
    page, complaints = opened
    complaints.heard.clear()
    yield page
    with told(browser):
        clear(page)
    assert complaints.heard == []


def clear(page: Any) -> None:
    """Let the run end that a test may have left, and switch everything off."""
    board = page.locator(".dpnb-grid")
    let_go(page)
    stop = board.get_by_role("button", name="Stop")
    if stop.is_enabled():
        stop.click()
    board.get_by_role("button", name="Generate").wait_for()
    board.get_by_role("button", name="Nothing").click()
    board.get_by_text("Nothing is switched on.").wait_for()


def hold(page: Any) -> None:
    """Let the next runs wait after some steps, so that there is time to do something meanwhile."""
    page.get_by_role("checkbox", name="Hold runs").check()
    page.locator(".holding", has_text="Runs are held.").wait_for()


def let_go(page: Any) -> None:
    """Let runs go on."""
    page.get_by_role("checkbox", name="Hold runs").uncheck()
    page.locator(".holding", has_text="Runs are free.").wait_for()


def begin(page: Any) -> None:
    """Start a run, and wait until it is held after some steps."""
    hold(page)
    page.locator(".dpnb-grid").get_by_role("button", name="Generate", exact=True).click()
    held(page)


def held(page: Any) -> None:
    """Wait until a run is held, and the page says so."""
    page.locator(".dpnb-grid").get_by_text(f"Step {pages.HELD} of {pages.STEPS}").first.wait_for()


def drawn(page: Any) -> None:
    """Let a run go on, and wait for its end."""
    let_go(page)
    page.locator(".dpnb-grid").get_by_text(re.compile("Drawn in")).wait_for()
