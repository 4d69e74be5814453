"""The dashboard as a page, used as a person would."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dpnb.widgets.run_monitor import KEPT
from tests.browser.conftest import begin, drawn, held, hold, let_go

INSIDE = """(list, end) => {
  list.scrollTop = end === 'last' ? list.scrollHeight : 0;
  const row = end === 'last' ? list.lastElementChild : list.firstElementChild;
  const [inner, outer] = [row, list.closest('.dpnb-card')].map(e => e.getBoundingClientRect());
  return inner.top >= outer.top && inner.bottom <= outer.bottom
    && inner.left >= outer.left && inner.right <= outer.right;
}"""

UNNAMED = """elements => elements
  .filter(e => e.offsetParent !== null)
  .filter(e => !(e.labels && [...e.labels].some(l => l.textContent.trim())))
  .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim()))
  .map(e => e.outerHTML.slice(0, 200))"""

FOCUSED = """() => {
  const e = document.activeElement;
  const label = e.labels && e.labels.length ? e.labels[0].textContent : e.textContent;
  return (label || '').trim();
}"""


def board(page: Any) -> Any:
    return page.locator(".dpnb-grid")


def switch(page: Any, name: str) -> Any:
    return board(page).get_by_role("checkbox", name=name, exact=True)


def button(page: Any, name: str) -> Any:
    return board(page).get_by_role("button", name=name, exact=True)


def click_all(page: Any, name: str, after: str) -> None:
    """Click all buttons of a name, which have another name afterwards."""
    for done in range(button(page, name).count()):
        button(page, name).first.click()
        button(page, after).nth(done).wait_for()


def test_a_click_draws_a_picture_with_previews_before_it(page: Any) -> None:
    begin(page)
    board(page).get_by_role("img", name="Preview of a red apple").wait_for()
    drawn(page)
    picture = board(page).get_by_role("img", name="Picture of a red apple")
    assert picture.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [64, 64]
    with page.expect_download() as download:
        board(page).get_by_role("link", name="Save picture").click()
    assert download.value.suggested_filename == "a-red-apple.png"


def test_switches_flipped_during_a_run_land_in_it_and_are_marked(page: Any) -> None:
    begin(page)
    for name in ("Attention slicing", "VAE tiling"):
        switch(page, name).click()
    board(page).locator(".dpnb-switches .dpnb-wait").filter(has_text="VAE tiling").first.wait_for()
    let_go(page)
    plan = page.locator(".kernel", has_text="AttentionSlicing").filter(has_text="VaeTiling")
    plan.wait_for()
    drawn(page)
    marks = board(page).locator(".dpnb-memory .dpnb-mark:visible text").all_text_contents()
    assert marks == ["Attention slicing on", "VAE tiling on"]
    row = board(page).locator(".dpnb-history .dpnb-row").first
    assert re.search(r"Attention slicing on at step \d; VAE tiling on at step \d", row.inner_text())


def test_clicks_are_answered_while_a_picture_is_drawn(page: Any) -> None:
    begin(page)
    status = board(page).locator(".dpnb-switches .dpnb-status")
    for name in ("Attention slicing", "VAE tiling", "Channels last"):
        switch(page, name).click()
        status.filter(has_text=name).filter(has_text="takes effect").wait_for()
    assert button(page, "Stop").is_enabled()
    drawn(page)
    page.locator(".kernel", has_text="ChannelsLast").wait_for()


def test_stop_ends_a_run_in_its_middle(page: Any) -> None:
    begin(page)
    button(page, "Stop").click()
    board(page).get_by_text("Stopping after this step").first.wait_for()
    let_go(page)
    board(page).get_by_text(re.compile(r"Stopped after \d+ steps")).wait_for()
    assert button(page, "Stop").is_disabled()
    assert button(page, "Generate").is_enabled()


def test_a_mistake_is_shown_where_it_was_made(page: Any) -> None:
    width = board(page).get_by_role("spinbutton", name="Width")
    width.fill("60")
    width.press("Tab")
    button(page, "Generate").click()
    board(page).get_by_role("alert").filter(has_text="60").wait_for()
    width.fill("64")
    width.press("Tab")
    begin(page)
    assert board(page).get_by_role("alert").count() == 0
    drawn(page)


def test_a_run_without_memory_is_mended_by_one_click(page: Any) -> None:
    page.get_by_role("button", name="Exhaust memory in the next run").click()
    button(page, "Generate").click()
    alert = board(page).get_by_role("alert")
    alert.filter(has_text="Memory ran out while the picture was denoised").wait_for()
    board(page).get_by_role("button", name=re.compile("^Switch on .* and run again$")).click()
    drawn(page)
    assert page.locator(".kernel").inner_text() != "plan: "


def test_two_panels_of_a_pipeline_agree(page: Any) -> None:
    twin = page.locator(".twin").get_by_role("checkbox", name="FreeU", exact=True)
    switch(page, "FreeU").check()
    page.wait_for_function("box => box.checked", arg=twin.element_handle())
    twin.uncheck()
    page.wait_for_function("b => !b.checked", arg=switch(page, "FreeU").element_handle())


def test_code_can_be_copied(page: Any) -> None:
    switch(page, "FreeU").check()
    page.locator(".kernel", has_text="FreeU").wait_for()
    button(page, "Copy as Python").click()
    code = board(page).get_by_role("textbox", name="Python")
    code.wait_for()
    page.wait_for_function("area => area.value.includes('FreeU()')", arg=code.element_handle())
    button(page, "Copy as Python").click()


def test_a_budget_shows_what_fits_and_a_click_switches_it_on(page: Any) -> None:
    plans = board(page).locator(".dpnb-plans")
    plans.get_by_role("button", name="What fits?").click()
    plans.locator("svg:visible").wait_for()
    plans.get_by_text(re.compile(r"^Predicted: (\d+) of \1 plans fit")).first.wait_for()
    budget = plans.get_by_role("spinbutton", name="Budget (MiB)")
    budget.fill("15")
    budget.press("Tab")
    first = plans.locator(".dpnb-plan").first
    first.get_by_text("fastest that fits").wait_for()
    plans.get_by_text("too large").first.wait_for()
    plans.get_by_role("slider").press("ArrowLeft")
    page.wait_for_function("box => box.value === '14.75'", arg=budget.element_handle())
    first.get_by_role("button", name="Use").click()
    page.locator(".kernel", has_text="SequentialOffload(budget=").wait_for()
    first.get_by_role("button", name="In use").wait_for()
    assert switch(page, "Sequential offload").is_checked()


def test_every_control_has_a_name(page: Any) -> None:
    click_all(page, "More", "Less")
    controls = board(page).locator("input, select, textarea, button")
    assert controls.count() > 40
    assert controls.evaluate_all(UNNAMED) == []
    dials = board(page).locator(".dpnb-dial")
    assert dials.get_by_role("slider").count() == board(page).get_by_role("slider").count() > 3
    for dial in dials.all():
        assert dial.get_by_role("spinbutton", include_hidden=True).count() == 1
    click_all(page, "Less", "More")


def test_the_keyboard_alone_can_do_all(page: Any) -> None:
    hold(page)
    board(page).get_by_role("textbox", name="Prompt").focus()
    passed = [page.evaluate(FOCUSED)]
    while passed[-1] != "Generate":
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
        assert len(passed) < 10
    page.keyboard.press("Enter")
    held(page)
    wanted = {"Steps", "New seed", "Scheduler", "Nothing", "Attention slicing"}
    while not passed[-1].endswith("Channels last"):
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
        assert len(passed) < 90
    for name in wanted:
        assert any(name in one for one in passed), name
    page.keyboard.press("Space")
    while passed[-1] != "Measure":
        page.keyboard.press("Tab")
        passed.append(page.evaluate(FOCUSED))
        assert len(passed) < 140
    let_go(page)
    page.locator(".kernel", has_text="ChannelsLast").wait_for()
    drawn(page)


@pytest.mark.parametrize("width", [900, 1600])
def test_nothing_is_cut_off(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 1400})
    for name in ("run", "switches", "memory", "plans", "history"):
        card = page.locator(f".dpnb-grid > .dpnb-{name}")
        wide, inner = card.evaluate("e => [e.clientWidth, e.scrollWidth]")
        assert inner <= wide, name
        box = card.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    page.set_viewport_size({"width": 1400, "height": 1400})


def test_long_lists_scroll_inside_their_cards(page: Any) -> None:
    page.get_by_role("button", name="Draw many").click()
    plans = board(page).locator(".dpnb-plans")
    page.get_by_role("button", name="Many are drawn").wait_for()
    plans.get_by_role("button", name="What fits?").click()
    every = plans.get_by_role("button", name=re.compile(r"^All \d+ plans$"))
    every.click()
    plans.get_by_role("button", name="Only plans that none beats").wait_for()
    rows = board(page).locator(".dpnb-history .dpnb-row")
    assert rows.count() == KEPT
    numbers = rows.evaluate_all(
        "rows => rows.map(row => Number(row.querySelector('[data-run]').dataset.run))"
    )
    assert numbers == sorted(numbers, reverse=True), "the latest one comes first"
    for width in (500, 700, 900, 1300, 1600):
        page.set_viewport_size({"width": width, "height": 1400})
        for name in ("plans", "history"):
            rows = board(page).locator(f".dpnb-{name} .dpnb-rows")
            height, content = rows.evaluate("e => [e.clientHeight, e.scrollHeight]")
            assert content > height, (name, width)
            for end in ("last", "first"):
                assert rows.evaluate(INSIDE, end), (name, width, end)
            card = page.locator(f".dpnb-grid > .dpnb-{name}")
            inner, outer = card.evaluate("e => [e.scrollHeight, e.clientHeight]")
            assert inner <= outer, (name, width)
    plans.get_by_role("button", name="Only plans that none beats").click()
    every.wait_for()
    page.set_viewport_size({"width": 1400, "height": 1400})
