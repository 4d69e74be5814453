"""How far a run is, in words, and what tells it regularly while the run goes on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context

from dpnb.stages import Stage, Step
from dpnb.units import format_seconds
from dpnb.widgets.state import Progress

logger = logging.getLogger(__name__)

TICK = 0.2


def seconds_left(ends: list[float], step: Step) -> float | None:
    """Of the denoising, by when its steps have ended; `None` where that cannot be told."""
    if step.stage is not Stage.DENOISING or len(ends) < 2:
        return None
    return (ends[-1] - ends[0]) / (len(ends) - 1) * (step.total - step.index - 1)


def describe_progress(progress: Progress) -> str:
    """How far a run is, in words."""
    if progress.stage is not Stage.DENOISING:
        return "Drawing …"
    left = progress.seconds_left
    rest = "" if left is None else f", about {format_seconds(left)} left"
    return f"Step {progress.done} of {progress.total}{rest}"


@contextmanager
def call_regularly(tick: Callable[[int], None]) -> Iterator[None]:
    """Within, call `tick` with a count, five times a second, from a thread of its own."""
    leave = threading.Event()

    def work() -> None:
        count = 0
        while not leave.wait(TICK):
            try:
                tick(count)
            except Exception:
                logger.exception("a run goes on, but cannot be shown")
            count += 1

    thread = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        leave.set()
        thread.join()
