"""What waits to be drawn, with a button that takes each out of the queue."""

from __future__ import annotations

from functools import partial

import ipywidgets as w

from dpnb.widgets.panel import close_all
from dpnb.widgets.run_queue import RunQueue
from dpnb.widgets.run_words import request_in_words
from dpnb.widgets.state import RunState


class QueueView(w.VBox):  # type: ignore[misc]
    """The queue of a session.

    Args:
        queue: what is shown and changed.

    Attributes:
        go_on: begins what waits after a run that was stopped or has failed.
        clear: takes all out.
    """

    def __init__(self, queue: RunQueue) -> None:
        self._queue = queue
        self.go_on = w.Button(description="Go on", tooltip="Begin with the first that waits")
        self.clear = w.Button(description="Clear the queue", tooltip="Draw none of them")
        for button in (self.go_on, self.clear):
            button.layout.width = "auto"
        self.go_on.on_click(lambda _: queue.go_on())
        self.clear.on_click(lambda _: queue.clear())
        self.entries = w.VBox()
        self.entries.add_class("dpnb-queue")
        buttons = w.HBox([self.go_on, self.clear])
        super().__init__([self.entries, buttons], layout={"display": "none"})

    def show(self, state: RunState) -> None:
        """Show what waits."""
        for row in self.entries.children:
            close_all(row)
        self.entries.children = [
            self._row(place, request_in_words(request)) for place, request in enumerate(state.queue)
        ]
        self.layout.display = None if state.queue else "none"
        self.go_on.layout.display = None if state.phase == "idle" else "none"

    def _row(self, place: int, words: str) -> w.Box:
        remove = w.Button(description="×", layout={"width": "auto"})
        remove.tooltip = f"Take {words} out of the queue"
        remove.on_click(partial(self._remove, place))
        row = w.HBox([w.Label(f"Next: {words}" if place == 0 else f"Then: {words}"), remove])
        row.layout.justify_content = "space-between"
        return row

    def _remove(self, place: int, _: w.Button) -> None:
        self._queue.remove(place)
