"""All panels of a pipeline on one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import ipywidgets as w

from dpnb.widgets.active_switches import ActiveSwitches
from dpnb.widgets.history_panel import HistoryPanel
from dpnb.widgets.job import Job
from dpnb.widgets.memory_panel import MemoryPanel
from dpnb.widgets.panel import Panel
from dpnb.widgets.planner_panel import PlannerPanel
from dpnb.widgets.run_panel import RunPanel
from dpnb.widgets.state import Request
from dpnb.widgets.strategy_panel import StrategyPanel

if TYPE_CHECKING:
    from dpnb.widgets.model_board import ModelBoard


class Dashboard(Panel):
    """Draw, switch, and see what it costs.

    Args:
        pipe: the pipeline.
        request: what the fields show at first.
    """

    def __init__(self, pipe: Any, request: Request | None = None) -> None:
        super().__init__(pipe)
        self.run = RunPanel(pipe, request)
        self.strategies = StrategyPanel(pipe)
        self.memory = MemoryPanel(pipe)
        self.active = ActiveSwitches(pipe)
        self.history = HistoryPanel(pipe)
        self.planner = PlannerPanel(pipe, request)
        self.planner.follow(self.run)
        self.strategies.follow(self.run)
        names = {
            "run": self.run,
            "switches": self.strategies,
            "memory": w.VBox([self.active, self.memory]),
            "plans": self.planner,
            "history": self.history,
        }
        for name, panel in names.items():
            panel.add_class("dpnb-card")
            panel.add_class(f"dpnb-{name}")
        grid = w.Box(list(names.values()))
        grid.add_class("dpnb-grid")
        frame = w.Box([grid])
        frame.add_class("dpnb-frame")
        self.fill([frame])

    def draw(self) -> Job:
        """See `RunPanel.draw`."""
        return self.run.draw()


@overload
def dashboard(pipe: str | Path | None = None, request: Request | None = None) -> ModelBoard: ...


@overload
def dashboard(pipe: Any, request: Request | None = None) -> Dashboard: ...


def dashboard(pipe: Any = None, request: Request | None = None) -> Dashboard | ModelBoard:
    """A page of panels for `pipe`: prompt and picture, switches, memory and time, plans,
    history.

    ```python
    dpnb.dashboard(pipe)
    ```

    Args:
        pipe: a pipeline of whatever class. One that was not written here is attached, and stays so:
            `dpnb.attach(pipe).detach()` leaves it as it was. In its place a folder, a file, or a
            name on the hub or in the package, or nothing: the page then has a field for the model,
            and what is named is loaded in the background.
        request: what the fields show at first; by default an example.

    Returns:
        A widget that shows itself; `close()` takes it away.

    Raises:
        AttachError: it is no pipeline, or one that cannot be attached.
        ValueError: the name is empty.
    """
    if pipe is None or isinstance(pipe, (str, Path)):
        from dpnb.widgets.model_board import ModelBoard

        return ModelBoard(pipe, request)
    return Dashboard(pipe, request)
