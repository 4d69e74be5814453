"""Which tests are left out by `pytest -m "not slow"`, beside those marked so where they stand.

And which are left out always, but with `EVERY_CASE=1`: of the slow cases of an exhaustive test, all
but one in `SHARE`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar
from zlib import crc32

import pytest

SHARE = 3
"""One in so many slow cases of an exhaustive test is enough, where there are more than `ENOUGH`."""

ENOUGH = 6

ROOMS = ("notebooks", "tests/browser", "tests/hostile", "tests/reference")
"""Folders of which all is slow: whole notebooks, pages in a browser, thousands of broken files,
and diffusers beside it."""


EVERY_CASE = bool(os.environ.get("EVERY_CASE"))
"""Whether nothing is left out."""

Item = TypeVar("Item")


def share_of(cases: Sequence[Item]) -> Sequence[Item]:
    """As many of the cases of one test as are tried; the first is among them."""
    return cases if EVERY_CASE else cases[::SHARE]


def mark_slow(items: Iterable[pytest.Item], root: Path) -> None:
    """Mark slow rooms, what wants a GPU, and of what is exhaustive all cases but the first."""
    cases: Counter[str] = Counter()
    for item in items:
        cases[_test(item)] += 1
        exhaustive = item.get_closest_marker("exhaustive")
        is_repetition = exhaustive and cases[_test(item)] > exhaustive.kwargs.get("fast", 1)
        if is_repetition or item.get_closest_marker("gpu") or _is_in_slow_room(item, root):
            item.add_marker("slow")


def spread_cases(items: list[pytest.Item]) -> list[pytest.Item]:
    """Leave out some of the cases of which there are many, the same ones each time.

    Returns:
        Those that are left out.
    """
    cases: Counter[str] = Counter()
    left_out: list[pytest.Item] = []
    for item in items:
        exhaustive = item.get_closest_marker("exhaustive")
        if exhaustive is None or item.get_closest_marker("gpu"):
            continue
        cases[_test(item)] += 1
        past = cases[_test(item)] - max(ENOUGH, exhaustive.kwargs.get("fast", 1))
        # By its name, as there is a rhythm in the order of cases.
        if past > 0 and crc32(item.nodeid.encode()) % SHARE:
            left_out.append(item)
    known = set(left_out)
    items[:] = [item for item in items if item not in known]
    return left_out


def _test(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


def _is_in_slow_room(item: pytest.Item, root: Path) -> bool:
    return any(item.path.is_relative_to(root / room) for room in ROOMS)
