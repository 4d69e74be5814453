"""Runs of a history panel."""

from __future__ import annotations

from typing import Any

from dpnb.widgets.history_panel import HistoryPanel
from dpnb.widgets.state import FinishedRun, Request
from tests.widgets.conftest import TIMEOUT

REQUEST = Request("a red apple", steps=2)


def drawn(panel: HistoryPanel, *plan: Any, request: Request = REQUEST) -> FinishedRun:
    """The run of a request with exactly these strategies on."""
    panel.session.use(frozenset(plan))
    panel.session.start(request).wait(TIMEOUT)
    run: FinishedRun = panel.session.run_state.history[-1]
    return run
