"""The style sheet of all panels: colours follow Jupyter's theme."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def stylesheet() -> str:
    """The element with the rules: how panels look, and that no still picture is beside them."""
    files = (Path(__file__).with_name(name) for name in ("panels.css", "still.css"))
    return f"<style>{''.join(file.read_text() for file in files)}</style>"
