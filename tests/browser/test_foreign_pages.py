"""The dashboard of a pipeline that was not written here, used as a person would."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import pages
from tests.browser.conftest import Complaints, begin, clear, drawn, let_go, told
from tests.browser.servers import HANGING, voila
from tests.browser.test_voila import UNNAMED, board, button, switch

PICTURES = os.environ.get("DPNB_PICTURES")
"""A folder for pictures of the pages, where somebody wants to look at them."""


@pytest.fixture(scope="module")
def address(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a page with the panels of two pipelines of diffusers."""
    folder = tmp_path_factory.mktemp("foreign")
    file = pages.write(folder / "pages", pages.FOREIGN, pages.FILMS)
    with voila(file, folder / "jupyter") as served:
        yield served


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """The page in a theme; its console must stay silent."""
    page = browser.new_page(viewport={"width": 1400, "height": 1400})
    page.set_default_timeout(1000 * HANGING)
    complaints = Complaints(page)
    with told(browser):
        page.goto(f"{address}&theme={request.param}")
        board(page).get_by_role("button", name="Generate").wait_for()
        page.locator(".film").get_by_role("button", name="Generate").wait_for()
    yield page
    if PICTURES is not None:
        page.screenshot(path=Path(PICTURES) / f"foreign-{request.param}.png")
        page.locator(".film").screenshot(path=Path(PICTURES) / f"film-{request.param}.png")
    page.close()
    assert complaints.heard == []


def test_it_is_drawn_with_switched_stopped_and_restored(page: Any) -> None:
    begin(page)
    switch(page, "Channels last").click()
    board(page).locator(".dpnb-switches .dpnb-wait").filter(
        has_text="Channels last"
    ).first.wait_for()
    drawn(page)
    page.locator(".kernel", has_text="ChannelsLast").wait_for()
    picture = board(page).get_by_role("img", name="Picture of a red apple")
    assert picture.evaluate("image => image.naturalWidth") == 32
    prompt = board(page).get_by_role("textbox", name="Prompt")
    prompt.fill("a cat")
    prompt.press("Tab")
    begin(page)
    board(page).get_by_role("img", name="Preview of a cat").wait_for()
    button(page, "Stop").click()
    board(page).get_by_text("Stopping after this step").first.wait_for()
    let_go(page)
    board(page).locator(".dpnb-run").get_by_text("Stopped after").wait_for()
    button(page, "Restore").last.click()
    page.wait_for_function("e => e.value === 'a red apple'", arg=prompt.element_handle())
    board(page).locator(".dpnb-run").get_by_role("button", name="More", exact=True).click()
    controls = board(page).locator(".dpnb-run").locator("input, select, textarea, button")
    assert controls.count() > 15
    assert controls.evaluate_all(UNNAMED) == []
    film(page)
    clear(page)


def film(page: Any) -> None:
    """Draw a video, and look at one of its frames."""
    panel = page.locator(".film")
    panel.get_by_role("button", name="Generate").click()
    panel.get_by_role("img", name="Video of a red fox").wait_for()
    panel.get_by_role("slider").press("ArrowRight")
    panel.get_by_role("img", name="Frame 2 of a red fox").wait_for()
    panel.get_by_role("checkbox", name="Play").check()
    panel.get_by_role("img", name="Video of a red fox").wait_for()
    assert (
        panel.get_by_role("link", name="Save video").get_attribute("download") == "a-red-fox.webp"
    )
