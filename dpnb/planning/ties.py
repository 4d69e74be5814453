"""Which plans are as fast as each other, and which of all none beats.

Predicted and measured times differ by more from run to run than by a hundredth: within that, what
needs less memory is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

TIE = 0.01
"""Times that differ by less than this part are equal."""

Row = TypeVar("Row")

Cost = Callable[[Row], tuple[int, float]]
"""Bytes and seconds."""


def group_ties(rows: Iterable[Row], cost: Cost[Row]) -> list[list[Row]]:
    """Rows that are as fast as the fastest of their group, the fastest group first.

    Args:
        rows: in any order; where bytes and seconds are equal, the first one stays first.
        cost: of a row.

    Returns:
        In each group, those that need the least memory first.
    """
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: cost(row)[1]):
        if groups and cost(row)[1] <= (1 + TIE) * cost(groups[-1][0])[1]:
            groups[-1].append(row)
        else:
            groups.append([row])
    return [sorted(group, key=cost) for group in groups]


def find_front(rows: Iterable[Row], cost: Cost[Row]) -> list[Row]:
    """The rows that none beats in memory without being slower, by memory.

    Args:
        rows: in any order; of two that are equal in both, the first one.
        cost: of a row.
    """
    found: list[Row] = []
    for group in group_ties(rows, cost):
        if not found or cost(group[0])[0] < cost(found[-1])[0]:
            found.append(group[0])
    return found[::-1]
