"""A handle on a run in the background: wait for it, or cancel it."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Protocol

from typing_extensions import override

from dpnb.errors import DpnbError
from dpnb.pipelines.listeners import Run
from dpnb.run_listener import RunListener
from dpnb.stages import Step
from dpnb.widgets.state import Request
from dpnb.widgets.waiting import wait_for_end


class StoppedError(DpnbError, RuntimeError):
    """The run was stopped before it had drawn anything."""


class WatchedPipeline(Protocol):
    """A pipeline whose runs are heard."""

    def watch(self, listener: RunListener[Run]) -> Callable[[], None]:
        """Call `listener` in every run that begins from now on; what is returned stops that."""
        ...


class Job(RunListener[Run]):
    """A run that goes on in the background.

    Args:
        pipe: whose run it is.
        run: the run; it takes place in the thread that calls it.
        on_end: is called when the run is over, with what has stopped it, before that is known to
            whoever waits.
        request: what it draws, if that is known.
    """

    def __init__(
        self,
        pipe: WatchedPipeline,
        run: Callable[[], Any],
        on_end: Callable[[BaseException | None], None],
        request: Request | None = None,
    ) -> None:
        self.request = request
        self._work: tuple[WatchedPipeline, Callable[[], Any]] | None = pipe, run
        self._on_end = [on_end]
        self._stop, self._beginning = threading.Event(), threading.Lock()
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self._run: Run | None = None
        self._is_drawn = False
        self._is_waiting = True
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
        """Let the run end after the present step; one that has not begun never begins."""
        self._stop.set()
        self.drop()

    def drop(self) -> None:
        """Never begin the run, unless it has begun; whoever waits hears that it was stopped."""
        with self._beginning:
            if not self._is_waiting:
                return
            self._is_waiting, self._work = False, None
            self._error = StoppedError("The run was stopped before it began.")
        self._done.set()

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
        try:
            wait_for_end(self._done, timeout, "the run, which can be cancelled, goes on")
        except KeyboardInterrupt:
            self.cancel()
            self._done.wait()
        if self._error is not None:
            raise self._error
        return self._output

    def work(self) -> None:
        """Run to the end. Called once, on the thread that does it; whatever fails, it ends.

        Where it was dropped meanwhile nothing is drawn, and who has begun it is told the end.
        """
        with self._beginning:
            is_dropped, self._is_waiting = not self._is_waiting, False
        try:
            if not is_dropped:
                self._output = self._draw()
        except BaseException as error:
            self._error = error
        self._work = self._run = self._thread = None
        try:
            self._on_end.pop()(self._error)
        except BaseException as error:
            self._error = self._error or error
        finally:
            self._done.set()

    def _draw(self) -> Any:
        assert self._work is not None
        pipe, run = self._work
        self._thread = threading.current_thread()
        try:
            with ExitStack() as heard:
                heard.callback(pipe.watch(self))
                return run()
        except BaseException as error:
            traceback.clear_frames(error.__traceback__)
            if self._stop.is_set() and isinstance(error, GeneratorExit):
                raise StoppedError(
                    "The run was stopped; start it again to draw the picture."
                ) from None
            raise

    @override
    def begin_run(self, run: Run) -> None:
        if self._run is None and threading.current_thread() is self._thread:
            self._run = run

    @override
    def end_step(self, run: Run, step: Step) -> None:
        if run is self._run:
            self._is_drawn = step.output is not None

    @override
    def between_steps(self, run: Run) -> None:
        """Leave the run where that is asked for: as whoever closes a stream, so that all that hear
        of it know, and no code of a pipeline takes it for an error that it can handle.
        """
        if run is self._run and self._stop.is_set() and not self._is_drawn:
            raise GeneratorExit
