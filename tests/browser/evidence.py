"""What pages show when a test gives up."""

from __future__ import annotations

import tempfile
from typing import Any

SHOWN = 4000
"""Letters of a page that are told."""


def seen(browser: Any) -> str:
    """The text of every open page, and where a picture of it lies."""
    pages = [page for context in browser.contexts for page in context.pages]
    return "\n".join(map(_seen, pages)) or "No page is open."


def _seen(page: Any) -> str:
    with tempfile.NamedTemporaryFile(prefix="page-", suffix=".png", delete=False) as file:
        page.screenshot(path=file.name, full_page=True)
    words = page.locator("body").inner_text()
    return f"{page.url} (picture: {file.name}) says:\n{words[:SHOWN]}"
