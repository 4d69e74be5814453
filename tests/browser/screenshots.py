"""Draw the README's pictures of the dashboard: `python -m tests.browser.screenshots [folder]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from playwright.sync_api import sync_playwright

from dpnb.lab import write_page
from tests.browser.servers import FLAGS, ROOT, chromium, voila

FOLDER = ROOT / "pictures"
WIDTH, HEIGHT = 1600, 1500


def act(page: Any) -> None:
    """Draw three pictures, flip switches meanwhile, and ask what fits."""
    generate = page.locator(".dpnb-go").first
    for names in ([], ["Attention slicing", "VAE tiling"], ["FreeU"]):
        generate.click()
        page.get_by_text(re.compile(r"Step \d+ of")).first.wait_for()
        for name in names:
            page.get_by_role("checkbox", name=name, exact=True).click()
            page.wait_for_timeout(250)
        page.get_by_text(re.compile("Drawn in")).wait_for()
    plans = page.locator(".dpnb-plans")
    plans.get_by_role("button", name="What fits?").click()
    plans.locator("svg:visible").wait_for(timeout=90_000)
    plans.get_by_role("spinbutton", name="Budget (MiB)").fill("15")
    page.keyboard.press("Tab")
    for number in (1, 3):
        page.get_by_role("checkbox", name=f"Run {number}", exact=True).click()
    page.wait_for_timeout(500)


def main(folder: Path) -> None:
    """Write the dashboard in both themes."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name, sync_playwright() as driver:
        file = write_page(Path(name) / "pages", "dpnb/emoji-64")
        browser = driver.chromium.launch(executable_path=chromium(), args=FLAGS)
        with voila(file, Path(name) / "jupyter") as address:
            for theme in ("light", "dark"):
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
                page.goto(f"{address}&theme={theme}")
                page.get_by_role("button", name="Generate").wait_for(timeout=90_000)
                page.get_by_role("spinbutton", name="Steps", exact=True).fill("40")
                page.keyboard.press("Tab")
                act(page)
                page.evaluate("document.querySelector('.dpnb-grid').scrollIntoView()")
                page.screenshot(path=folder / f"dashboard-{theme}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
