"""How panels look: colours follow Jupyter's theme, and the arrangement the room there is."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def style() -> str:
    """The element that holds the rules of `panels.css`."""
    return f"<style>{Path(__file__).with_name('panels.css').read_text()}</style>"
