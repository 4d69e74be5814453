"""A handle on a run in the background: wait for it, or cancel it."""

from __future__ import annotations

import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

from dpnb.errors import DpnbError
from dpnb.stages import Step

PAUSE = 0.2
"""Seconds after which waiting looks whether it was interrupted."""


class StoppedError(DpnbError, RuntimeError):
    """The run was stopped before it had drawn anything."""


class Job:
    """A run that goes on in the background.

    Args:
        steps: the run.
        on_end: is called when the run is over, with what has stopped it, before that is known to
            whoever waits.
    """

    def __init__(
        self, steps: Iterator[Step], on_end: Callable[[BaseException | None], None]
    ) -> None:
        self._steps: Any = steps
        self._on_end = [on_end]
        self._stop = threading.Event()
        self._done = threading.Event()
        self._output: Any = None
        self._error: BaseException | None = None

    @property
    def is_done(self) -> bool:
        """Whether the run is over."""
        return self._done.is_set()

    @property
    def exception(self) -> BaseException | None:
        """What has stopped the run; `None` where it came to its end or goes on."""
        return self._error

    def cancel(self) -> None:
        """Let the run end after the present step."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> Any:
        """Wait for the end; interrupting this stops the run.

        Args:
            timeout: the most seconds to wait.

        Returns:
            The pipeline's output.

        Raises:
            TimeoutError: the run goes on.
            StoppedError: it was stopped.
            BaseException: what the run has failed with.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        try:
            while not self._done.wait(PAUSE):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the run goes on after {timeout} s; wait on, or cancel it.")
        except KeyboardInterrupt:
            self.cancel()
            self._done.wait()
        if self._error is not None:
            raise self._error
        return self._output

    def work(self) -> None:
        """Run to the end. Called once, on the thread that does it; whatever fails, it ends."""
        try:
            with closing(self._steps):
                self._run()
        except BaseException as error:
            self._error = error
        self._steps = None
        try:
            self._on_end.pop()(self._error)
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._done.set()

    def _run(self) -> None:
        try:
            for step in self._steps:
                self._output = step.output
                if self._stop.is_set() and step.output is None:
                    raise StoppedError("The run was stopped; start it again to draw the picture.")
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            raise
