"""Which tests are left out by `pytest -m "not slow"`, beside those marked so where they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOMS = ("notebooks", "tests/browser", "tests/hostile", "tests/reference")
"""Folders of which all is slow: whole notebooks, pages in a browser, thousands of broken files,
and diffusers beside it."""


def mark_slow(items: Iterable[pytest.Item], root: Path) -> None:
    """Mark slow rooms, what wants a GPU, and of what is exhaustive all cases but the first."""
    cases: Counter[str] = Counter()
    for item in items:
        cases[_test(item)] += 1
        exhaustive = item.get_closest_marker("exhaustive")
        is_repetition = exhaustive and cases[_test(item)] > exhaustive.kwargs.get("fast", 1)
        if is_repetition or item.get_closest_marker("gpu") or _is_in_slow_room(item, root):
            item.add_marker("slow")


def _test(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _is_in_slow_room(item: pytest.Item, root: Path) -> bool:
    return any(item.path.is_relative_to(root / room) for room in ROOMS)
