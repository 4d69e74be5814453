"""The style sheet of all panels: colours follow Jupyter's theme."""

from __future__ import annotations

from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@cache
def stylesheet() -> str:
    """The element with the rules: how panels look, and that no still picture is beside them."""
    return f"<style>{_read('panels.css', 'still.css')}</style>"


@cache
def rules() -> str:
    """The rules of a board that is one widget."""
    return _read("panels.css", "anywidget_board.css")


def _read(*names: str) -> str:
    return "".join((FOLDER / name).read_text(encoding="utf-8") for name in names)
