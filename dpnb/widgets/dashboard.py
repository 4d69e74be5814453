"""All panels of a pipeline on one page."""

from __future__ import annotations

from typing import Any

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


class Dashboard(Panel):
    """Draw, switch, and see what it costs.

    Args:
        pipe: the pipeline.
        request: what the fields show at first.
    """

    def __init__(self, pipe: Any, request: Request | None = None) -> None:
        super().__init__(pipe)
        self.run = self.own(RunPanel(pipe, request))
        self.strategies = self.own(StrategyPanel(pipe))
        self.memory = self.own(MemoryPanel(pipe))
        self.active = self.own(ActiveSwitches(pipe))
        self.history = self.own(HistoryPanel(pipe))
        self.planner = self.own(PlannerPanel(pipe, request))
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
