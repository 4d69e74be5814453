"""The switches that are on, in one line, each with a click that takes it off."""

from __future__ import annotations

from functools import partial
from typing import Any

import ipywidgets as w

from dpnb.strategies.settings import describe_strategy, strategy_label
from dpnb.strategies.strategy import Strategy, in_order
from dpnb.widgets.panel import Panel, close_all


class ActiveSwitches(Panel):
    """A button for each strategy that is on or will be, which takes it off.

    Args:
        pipe: the pipeline.
    """

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe)
        self.buttons: dict[Strategy, w.Button] = {}
        self._words = w.HTML()
        self._line = w.Box([self._words])
        self._line.add_class("dpnb-on")
        self.fill([self._line])
        self.watch(self.session.strategy_state, "revision", lambda _: self.show())
        self.show()

    def show(self) -> None:
        """Bring the buttons to what is on, and to what waits for the next step."""
        state = self.session.strategy_state
        listed = in_order(state.wanted | state.active)
        for strategy in [one for one in self.buttons if one not in listed]:
            close_all(self.buttons.pop(strategy))
        for strategy in listed:
            if strategy not in self.buttons:
                self.buttons[strategy] = self._button(strategy)
            self._mark(self.buttons[strategy], strategy)
        self._words.value = "<b>On:</b>" if listed else "<b>On:</b> nothing"
        self._line.children = [self._words, *(self.buttons[strategy] for strategy in listed)]

    def _button(self, strategy: Strategy) -> w.Button:
        button = w.Button(description=f"{describe_strategy(strategy)} ×", layout={"width": "auto"})
        button.add_class("dpnb-chip")
        button.on_click(partial(self._take_off, type(strategy)))
        return button

    def _mark(self, button: w.Button, strategy: Strategy) -> None:
        state, label = self.session.strategy_state, strategy_label(type(strategy))
        waits = (strategy in state.wanted) != (strategy in state.active)
        comes = "comes on" if strategy in state.wanted else "goes off"
        button.tooltip = f"{label} {comes} at the next step" if waits else f"Switch off {label}"
        (button.add_class if waits else button.remove_class)("dpnb-waits")

    def _take_off(self, kind: type[Strategy], _: w.Button) -> None:
        self.session.disable(kind)
