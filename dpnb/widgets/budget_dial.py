"""A budget of memory, in a box and on a slider."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from dpnb.planning.table import PlanTable

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30
MOST = 1 << 50
"""Bytes that may be typed."""

STEPS = [1 << shift for shift in range(12, 50, 2)]
"""Bytes, each a round number of MiB or GiB, or an even part of it."""


class BudgetDial(w.HBox):  # type: ignore[misc]
    """Shows a budget, and tells of another one that a person has set.

    It belongs to one table of plans. Browsers send back values that limits have cut off; here all
    limits are those of the first message and never change, and the slider counts whole steps. Other
    plans need another dial: what a browser still says of the former one, which is closed then,
    reaches nobody.

    Args:
        table: the plans, whose peaks are the slider's range.
        budget: bytes that are shown first.
        choose: is told of the bytes that a person has set.

    Attributes:
        box: the budget in `unit`s, rounded.
        slider: the budget in steps from the least that the slider reaches.
        unit: bytes of one in the box.
    """

    def __init__(self, table: PlanTable, budget: int, choose: Callable[[int], None]) -> None:
        self._budget, self._choose = budget, choose
        self._step = budget_step(table)
        smallest = min(row.needed for row in table)
        most, least = -(-largest_peak(table) // self._step), smallest // self._step
        room = max((most - least) // 8, 1)
        self._first = max(least - room, 0)
        is_large = smallest >= GIBIBYTE
        self.unit, name = (GIBIBYTE, "GiB") if is_large else (MEBIBYTE, "MiB")
        self.box = w.BoundedFloatText(
            value=self._shown(budget), min=0.0, max=MOST / self.unit, step=self._step / self.unit,
            description=f"Budget ({name})", style={"description_width": "auto"},
            layout={"width": "15em"},
        )  # fmt: skip
        self._last = most + room - self._first
        self.slider = w.IntSlider(
            value=self._place(budget), min=0, max=self._last, readout=False,
            layout={"flex": "1 1 8em", "width": "auto", "min_width": "6em"},
        )  # fmt: skip
        super().__init__([self.box, self.slider])
        self.add_class("dpnb-dial")
        self.box.observe(lambda _: self._typed(), "value")
        self.slider.observe(lambda _: self._slid(), "value")

    def show(self, budget: int) -> None:
        """Show so many bytes; nobody is told."""
        self._budget = budget
        self.box.value, self.slider.value = self._shown(budget), self._place(budget)

    def _typed(self) -> None:
        if self.box.value != self._shown(self._budget):
            self._choose(round(self.box.value * self.unit))

    def _slid(self) -> None:
        if self.slider.value != self._place(self._budget):
            self._choose((self._first + self.slider.value) * self._step)

    def _shown(self, budget: int) -> float:
        return round(budget / self.unit, 2)

    def _place(self, budget: int) -> int:
        """Of a budget on the slider, at its end where the budget is beyond it."""
        return min(max(round(budget / self._step) - self._first, 0), self._last)


def largest_peak(table: PlanTable) -> int:
    """Bytes that the largest plan needs."""
    return max(row.needed for row in table)


def budget_step(table: PlanTable) -> int:
    """Bytes between two budgets: a round number, of which a hundred reach the largest plan."""
    most = largest_peak(table)
    return next(step for step in STEPS if most <= 100 * step)


def default_budget(table: PlanTable) -> int:
    """The budget that is shown until somebody sets one, in bytes.

    What the device has, where that decides anything; else the largest plan's, rounded up.
    """
    step = budget_step(table)
    return min(table.budget, -(-largest_peak(table) // step) * step)
