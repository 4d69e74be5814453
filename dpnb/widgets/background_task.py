"""Work on a thread of its own, for whose end one can wait."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from contextvars import copy_context

from dpnb.widgets.waiting import wait_for_end


class BackgroundTask:
    """Begins at once, and goes on beside whatever else is done.

    Args:
        work: is called once; what it fails with is raised by `wait`.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._done = threading.Event()
        self._error: BaseException | None = None
        context = copy_context()
        threading.Thread(target=context.run, args=(self._run, work), daemon=True).start()

    @property
    def is_done(self) -> bool:
        """Whether it is over."""
        return self._done.is_set()

    def wait(self, timeout: float | None = None) -> None:
        """Wait for the end.

        Args:
            timeout: the most seconds to wait.

        Raises:
            TimeoutError: it goes on.
            BaseException: what it has failed with.
        """
        wait_for_end(self._done, timeout, "this goes on")
        if self._error is not None:
            raise self._error

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            self._error = error
        finally:
            self._done.set()
