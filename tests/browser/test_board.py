"""The looks and the keyboard of the dashboard."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

import dpnb
from tests.browser.board import CUT_OFF, FAINT, HEIGHTS, SEEN_AT_ONCE
from tests.browser.conftest import begin, drawn, held, hold, let_go
from tests.browser.servers import HANGING
from tests.browser.test_voila import board, button, switch

SERIOUS = ("serious", "critical")


def ask_and_draw(page: Any) -> None:
    """Draw, with two things switched on, and ask what fits."""
    for name in ("Attention slicing", "FreeU"):
        switch(page, name).check()
    begin(page)
    drawn(page)


@pytest.mark.parametrize(("width", "height"), [(760, 900), (900, 900), (1280, 900), (1920, 1000)])
def test_picture_chart_and_switches_are_in_one_view(page: Any, width: int, height: int) -> None:
    ask_and_draw(page)
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function(f"() => ({SEEN_AT_ONCE})().every(Boolean)")
    page.set_viewport_size({"width": 1400, "height": 1400})


@pytest.mark.parametrize("width", [760, 900, 1280, 1920])
def test_no_words_are_cut_off(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1400})
    begin(page)
    button(page, "Add to queue").first.wait_for()
    assert page.evaluate(CUT_OFF) == []
    drawn(page)
    page.set_viewport_size({"width": 1400, "height": 1400})


def test_nothing_jumps_when_the_first_picture_comes(browser: Any, served: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.set_default_timeout(1000 * HANGING)
    page.goto(served)
    button(page, "Generate").wait_for()
    before = page.evaluate(HEIGHTS)
    begin(page)
    board(page).get_by_role("img", name="Preview of a red apple").wait_for()
    during = page.evaluate(HEIGHTS)
    drawn(page)
    board(page).get_by_role("img", name="Picture of a red apple").wait_for()
    after = page.evaluate(HEIGHTS)
    for moved in (during, after):
        for (was, name), (now, _) in zip(before, moved, strict=True):
            assert abs(now - was) <= 3, name
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_assistive_technology_finds_nothing_serious(browser: Any, served: str, theme: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 1400})
    page.set_default_timeout(1000 * HANGING)
    page.goto(f"{served}&theme={theme}")
    button(page, "Generate").wait_for()
    ask_and_draw(page)
    board(page).locator(".dpnb-history .dpnb-row input").first.check()
    board(page).locator(".dpnb-history svg:visible").wait_for()
    found = Axe().run(page, context=".dpnb-grid").response
    assert {"button-name", "label", "image-alt"} <= {one["id"] for one in found["passes"]}
    serious = [one for one in found["violations"] if one["impact"] in SERIOUS]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in serious] == []
    count, faint = page.evaluate(FAINT)
    assert count > 100
    assert faint == []
    page.close()


def test_control_and_enter_draw_from_a_field_which_keeps_the_focus(page: Any) -> None:
    hold(page)
    prompt = board(page).get_by_role("textbox", name="Prompt")
    prompt.fill("a banana")
    prompt.press("Control+Enter")
    held(page)
    board(page).get_by_role("img", name="Preview of a banana").wait_for()
    assert prompt.evaluate("e => e === document.activeElement")
    drawn(page)
    prompt.fill("a red apple")
    prompt.press("Tab")


def test_generate_keeps_the_focus_and_fills_a_queue(page: Any) -> None:
    hold(page)
    generate = board(page).locator(".dpnb-go").first
    generate.focus()
    page.keyboard.press("Enter")
    held(page)
    assert generate.evaluate("e => e === document.activeElement")
    seed = board(page).get_by_role("spinbutton", name="Seed")
    for number in ("7", "8"):
        seed.fill(number)
        seed.press("Tab")
        button(page, "Add to queue").click()
        board(page).locator(".dpnb-queue").get_by_text(f"seed {number}").wait_for()
    board(page).locator(".dpnb-queue button").last.click()
    board(page).locator(".dpnb-queue").get_by_text("seed 8").wait_for(state="detached")
    let_go(page)
    rows = board(page).locator(".dpnb-history .dpnb-row")
    rows.first.get_by_text("seed 7").first.wait_for()
    button(page, "Generate").wait_for()
    seed.fill("0")
    seed.press("Tab")


def test_stop_hands_the_focus_on(page: Any) -> None:
    begin(page)
    stop = button(page, "Stop")
    stop.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.matches('.dpnb-go')")
    let_go(page)
    board(page).get_by_text(re.compile(r"Stopped after \d+ steps")).wait_for()


@pytest.mark.parametrize("side", [64, 512, 2048])
def test_no_budget_is_set_by_itself(page: Any, side: int) -> None:
    for name in ("Width", "Height"):
        field = board(page).locator(".dpnb-run").get_by_role("spinbutton", name=name)
        field.fill(str(side))
        field.press("Tab")
    plans = board(page).locator(".dpnb-plans")
    plans.get_by_role("button", name="What fits?").click()
    plans.get_by_text(f"{side} × {side}").first.wait_for()
    status = plans.locator(".dpnb-status")
    status.filter(has_text=re.compile(r"^Predicted: (\d+) of \1 plans fit")).wait_for()
    box = plans.get_by_role("spinbutton", name=re.compile("Budget"))
    words, budget = status.inner_text(), box.input_value()
    assert len(budget.partition(".")[2]) <= 2
    page.wait_for_timeout(1500)
    assert (status.inner_text(), box.input_value()) == (words, budget)
    for name in ("Width", "Height"):
        field = board(page).locator(".dpnb-run").get_by_role("spinbutton", name=name)
        field.fill("64")
        field.press("Tab")


def test_a_picture_is_enlarged_saved_and_brought_back(page: Any) -> None:
    begin(page)
    drawn(page)
    enlarge = board(page).get_by_role("button", name="Enlarge: Picture of a red apple")
    enlarge.focus()
    page.keyboard.press("Enter")
    picture = board(page).locator(".dpnb-picture img")
    assert picture.bounding_box()["width"] > 500
    page.keyboard.press("Escape")
    page.wait_for_function("e => e.clientWidth < 400", arg=picture.element_handle())
    with page.expect_download() as download:
        board(page).get_by_role("link", name="Save picture").click()
    content = Path(download.value.path()).read_bytes()
    settings = dpnb.read_settings(content)
    assert (settings.prompt, settings.seed) == ("a red apple", 0)
    assert "parameters" in Image.open(io.BytesIO(content)).info
    prompt = board(page).get_by_role("textbox", name="Prompt")
    prompt.fill("a banana")
    prompt.press("Tab")
    page.evaluate(DROP, {"content": list(content), "name": "apple.png"})
    page.wait_for_function("e => e.value === 'a red apple'", arg=prompt.element_handle())
    more = board(page).locator(".dpnb-run").get_by_role("button", name="More", exact=True)
    more.click()
    board(page).get_by_text("The fields say what apple.png was drawn with.").wait_for()
    board(page).locator(".dpnb-run").get_by_role("button", name="Less", exact=True).click()


DROP = """({ content, name }) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(content)], name, { type: 'image/png' }));
  const event = new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true });
  document.querySelector('.dpnb-grid .dpnb-run').dispatchEvent(event);
}"""
"""Drop a file on the panel that draws."""


def test_code_goes_to_the_clipboard(page: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    switch(page, "FreeU").check()
    page.locator(".kernel", has_text="FreeU").wait_for()
    button(page, "Copy as Python").click()
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('FreeU()')")
    code = page.evaluate("() => navigator.clipboard.readText()")
    assert "prompt='a red apple'" in code
    assert "manual_seed(0)" in code
    button(page, "Copy as Python").click()


def test_sliders_have_names(page: Any) -> None:
    handles = board(page).locator(".noUi-handle:visible")
    assert handles.count() > 2
    names = handles.evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    assert all(names), names
