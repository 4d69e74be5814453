"""A small pipeline, a session of it, and a gate that holds a run between two steps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import ipywidgets
import pytest

import dpnb
from dpnb.pipelines.listeners import Run
from dpnb.planning.planner import plan
from dpnb.planning.table import PlanTable
from dpnb.run_listener import RunListener
from dpnb.stages import Stage
from dpnb.widgets.planner_panel import LINK
from dpnb.widgets.session import Session

TIMEOUT = 300
"""Seconds after which something is thought to hang: no time that anything should take."""


class Gate(RunListener[Run]):
    """Holds every step until `open` is called for it.

    Attributes:
        waits: is set while a step waits.
    """

    def __init__(self) -> None:
        self._tickets = threading.Semaphore(0)
        self._arrivals = threading.Semaphore(0)
        self.fails_at: tuple[Stage, BaseException] | None = None

    def begin_step(self, run: Run, stage: Stage) -> None:
        self._arrivals.release()
        assert self._tickets.acquire(timeout=TIMEOUT)
        if self.fails_at is not None and self.fails_at[0] is stage:
            raise self.fails_at[1]

    def open(self, steps: int = 1) -> None:
        """Let so many steps be computed."""
        self._tickets.release(steps)

    def reached(self, steps: int = 1) -> None:
        """Return when so many further steps have come here."""
        for _ in range(steps):
            assert self._arrivals.acquire(timeout=TIMEOUT)


def is_shown(widget: Any) -> bool:
    """Whether a widget takes any room."""
    return bool(widget.layout.display != "none")


@pytest.fixture(scope="module")
def tiny() -> Any:
    pipe = dpnb.random_pipeline("tiny-sd")
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def table() -> PlanTable:
    """Plans of such a pipeline."""
    return plan(dpnb.random_pipeline("tiny-sd"), height=32, width=32, steps=2, device=LINK)


@pytest.fixture
def pipe(tiny: Any) -> Iterator[Any]:
    """A pipeline that nothing is left behind of."""
    scheduler = tiny.scheduler
    yield tiny
    tiny.scheduler = scheduler
    tiny.strategies.use([])
    assert list(tiny.listeners) == []
    ipywidgets.Widget.close_all()


@pytest.fixture
def session(pipe: Any) -> Iterator[Session]:
    session = Session.of(pipe)
    yield session
    session.close()


@pytest.fixture
def gate(pipe: Any) -> Iterator[Gate]:
    """Runs that begin from now on wait before every step."""
    gate = Gate()
    leave = pipe.watch(gate)
    yield gate
    gate.open(1000)
    leave()
