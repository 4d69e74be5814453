"""A call as an iterator of its steps: it takes place in a thread of its own, one step at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from contextvars import copy_context
from threading import Semaphore, get_ident
from typing import Any, Generic, TypeVar

import torch

from dpnb.strategies.runs import GIVEN_UP, RunError

S = TypeVar("S")


class CallStream(Generic[S]):
    """Hands over what a call reports, and lets it go on only when the next report is asked for.

    The call's thread and the one that asks never run at once. What torch keeps by thread (whether
    gradients are recorded, autocast, the CUDA device and stream) is that of whoever asks first.

    Args:
        call: is given a function by which it reports.

    Attributes:
        asker: the thread that has asked last.
    """

    def __init__(self, call: Callable[[Callable[[S], None]], Any]) -> None:
        self._call = call
        self.asker = get_ident()
        self._may_go_on, self._has_news = Semaphore(0), Semaphore(0)
        self._reports: list[S] = []
        self._is_left = False
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None

    def steps(self) -> Generator[S, None, None]:
        """The reports, one after the other; closing this ends the call.

        Raises:
            RunError: somebody else has ended it.
        """
        work = _with_state_of_this_thread(self._work)
        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()
        try:
            while self._wait():
                yield self._reports.pop()
            if self._is_left:
                raise RunError(GIVEN_UP)
        finally:
            self.leave()
        if self._error is not None:
            raise self._error

    def leave(self) -> None:
        """End the call where it waits, and wait for its end."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return
        self._is_left = True
        self._may_go_on.release()
        thread.join()

    def _wait(self) -> bool:
        """Let the call go on; whether it has reported something."""
        self.asker = get_ident()
        self._may_go_on.release()
        self._has_news.acquire()
        return bool(self._reports)

    def _work(self) -> None:
        try:
            self._may_go_on.acquire()
            self._call(self._report)
        except GeneratorExit:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._has_news.release()

    def _report(self, report: S) -> None:
        self._reports.append(report)
        self._has_news.release()
        self._may_go_on.acquire()
        if self._is_left:
            raise GeneratorExit


def _with_state_of_this_thread(work: Callable[[], None]) -> Callable[[], None]:
    """`work`, for another thread, with what torch and Python keep of this one."""
    context = copy_context()
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    casts = [
        (kind, torch.get_autocast_dtype(kind))
        for kind in ("cpu", "cuda")
        if torch.is_autocast_enabled(kind)
    ]
    stream = torch.cuda.current_stream() if torch.cuda.is_initialized() else None

    def run() -> None:
        with ExitStack() as state:
            if stream is not None:
                state.enter_context(torch.cuda.stream(stream))
            for kind, dtype in casts:
                state.enter_context(torch.autocast(kind, dtype=dtype))
            state.enter_context(torch.inference_mode(inference))
            state.enter_context(torch.set_grad_enabled(grad))
            context.run(work)

    return run
