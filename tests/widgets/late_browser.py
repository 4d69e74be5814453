"""A browser that is slow: it hears of widgets late, and answers later still."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import comm
import ipywidgets as w
import pytest
from comm.base_comm import BaseComm


class Line(BaseComm):
    """Takes what the kernel sends to one widget's model in the browser."""

    def publish_msg(
        self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any
    ) -> None:
        if msg_type != "comm_close" and "state" in (data or {}):
            self.sent: deque[dict[str, Any]] = vars(self).setdefault("sent", deque())
            if data.get("method", "update") == "update":
                self.sent.append(data["state"])


class LateBrowser:
    """Sliders as ipywidgets shows them.

    Whatever arrives is cut off by the limits that are known then, brought to the next step in
    floating point, and sent back where that is another value.

    Args:
        patch: lets the kernel talk to this browser.
        seed: of the order in which things happen.
    """

    def __init__(self, patch: pytest.MonkeyPatch, seed: int) -> None:
        patch.setattr(comm, "create_comm", Line)
        self._chance = random.Random(seed)
        self._models: dict[str, dict[str, Any]] = {}
        self._answers: list[tuple[w.Widget, dict[str, Any]]] = []

    def listen(self, widgets: list[w.Widget]) -> None:
        """Hear some of what was sent to these, in its order; the rest stays for later."""
        for widget in widgets:
            sent = vars(widget.comm).get("sent", deque())
            for _ in range(self._chance.randint(0, len(sent))):
                self._hear(widget, sent.popleft())

    def answer(self) -> None:
        """Send what there is to be said, in any order."""
        self._chance.shuffle(self._answers)
        while self._answers:
            widget, state = self._answers.pop()
            widget.set_state(state)

    def _hear(self, widget: w.Widget, state: dict[str, Any]) -> None:
        model = self._models.setdefault(widget.model_id, {})
        for name, value in state.items():
            model[name] = value
            if {"value", "min", "max", "step"} <= model.keys():
                self._clamp(widget, model)

    def _clamp(self, widget: w.Widget, model: dict[str, Any]) -> None:
        low, high, step = model["min"], model["max"], model["step"] or 1
        value = min(max(model["value"], low), high)
        value = low + round((value - low) / step) * step
        value = round(value) if isinstance(widget, w.IntSlider) else value
        if value != model["value"]:
            model["value"] = value
            self._answers.append((widget, {"value": value}))


def sliders(widget: w.Widget) -> list[w.Widget]:
    """Those within a widget."""
    if isinstance(widget, w.Box):
        return [found for child in widget.children for found in sliders(child)]
    return [widget] if isinstance(widget, (w.IntSlider, w.FloatSlider)) else []
