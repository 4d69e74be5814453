"""Waiting for the end of something, so that it can be interrupted."""

from __future__ import annotations

import math
import threading
import time

PAUSE = 0.1
"""Seconds after which waiting looks whether it was interrupted."""


def wait_for_end(done: threading.Event, timeout: float | None, goes_on: str) -> None:
    """Wait until something is over.

    Args:
        done: is set then.
        timeout: the most seconds to wait; `None` for as long as it takes.
        goes_on: what to say where it takes longer, such as "the run goes on".

    Raises:
        TimeoutError: it takes longer.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while not done.wait(PAUSE):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{goes_on} after {timeout} s; wait on.")
