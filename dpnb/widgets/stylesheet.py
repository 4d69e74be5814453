"""The style sheet of all panels: colours follow Jupyter's theme."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def stylesheet() -> str:
    """The element that holds the rules of `panels.css`."""
    return f"<style>{Path(__file__).with_name('panels.css').read_text()}</style>"
