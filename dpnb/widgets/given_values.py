"""Values of a call that no field can show: tensors, lists, objects of Python."""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import partial
from typing import Any

import ipywidgets as w
import traitlets

from dpnb.widgets.literals import describe_value
from dpnb.widgets.panel import close_all


class GivenValues(w.VBox):  # type: ignore[misc]
    """A row for each value that was given in a cell, with a button that takes it back.

    Attributes:
        value: what is given, by the arguments' names.
    """

    value = traitlets.Dict()

    def __init__(self) -> None:
        self._rows: list[w.HBox] = []
        super().__init__(layout={"display": "none", "width": "100%"})

    @property
    def values(self) -> Mapping[str, Any]:
        """What is given, by the arguments' names."""
        given: Mapping[str, Any] = self.value
        return given

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show these, and no others; `None` is nothing given."""
        former = self._rows
        self.value = {name: value for name, value in values.items() if value is not None}
        self._rows = [self._row(name, value) for name, value in self.values.items()]
        self.children = self._rows
        self.layout.display = None if self.values else "none"
        for row in former:
            close_all(row)

    def remove(self, name: str) -> None:
        """Take a value back, where there is one of this name."""
        if name in self.values:
            self.set_values({one: v for one, v in self.values.items() if one != name})

    def _row(self, name: str, value: Any) -> w.HBox:
        words = f"<b>{html.escape(name)}</b>: {html.escape(describe_value(value))}"
        button = w.Button(
            description="Remove",
            tooltip=f"Leave {name} out",
            layout={"width": "auto", "flex": "0 0 auto"},
        )
        button.on_click(partial(self._on_remove, name))
        return w.HBox([w.HTML(words), button], layout={"align_items": "center"})

    def _on_remove(self, name: str, _: w.Button) -> None:
        self.remove(name)
