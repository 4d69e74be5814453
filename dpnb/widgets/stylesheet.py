"""The looks and the keyboard of all panels: colours follow Jupyter's theme."""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent

BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
"""A picture of one transparent pixel: the keyboard's code runs where a page shows it."""


@cache
def stylesheet() -> str:
    """The element with the rules: how panels look, and that no still picture is beside them."""
    return f"<style>{_read('panels.css', 'still.css')}</style>"


@cache
def rules() -> str:
    """The rules of a board that is one widget."""
    return _read("panels.css", "anywidget_board.css")


@cache
def keyboard() -> str:
    """The element that runs `panels.js` on the panel that it is in.

    Without it, where a page lets no code run, everything can be done by clicks.
    """
    code = html.escape(re.sub(r"\n\s*", " ", _read("panels.js").strip()), quote=True)
    return f'<img src="{BLANK}" alt="" style="display:none" onload="{code}"/>'


def _read(*names: str) -> str:
    return "".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
