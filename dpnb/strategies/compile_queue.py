"""Where orders are compiled: by another process, one after the other, while everything goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import Empty, Queue
from threading import Lock, Thread
from typing import Any
from weakref import WeakSet

from dpnb.nn.torch_internals import package_loader
from dpnb.strategies.code_folder import CodeFolder, lasting_key, open_code_folder
from dpnb.strategies.compile_order import Nesting, Order
from dpnb.strategies.compile_process import CompileProcess, ProcessFailed
from dpnb.strategies.compile_worker import Job

IDLE = 20.0
"""Seconds without an order after which the process ends, and what nobody wants is forgotten."""

TRIES = 2
"""So often an order is begun whose process ends over it."""


@dataclass(eq=False)
class CompiledCode:
    """Code for an order, now or soon.

    Attributes:
        order: what it is compiled from.
        run: the code, once it is there: it takes weights and inputs, and gives tensors.
        path: of the file that it was loaded from.
        nesting: of what it gives.
        failure: why there is none.
        may_try_again: whether that may be otherwise another time.
        wanted_by: who has asked for it.
    """

    order: Order
    run: Any = None
    path: Path = Path()
    nesting: Nesting = None
    failure: str | None = None
    may_try_again: bool = False
    wanted_by: WeakSet[Any] = field(default_factory=WeakSet)

    @property
    def is_waiting(self) -> bool:
        """Whether it is neither there nor known not to be."""
        return self.run is None and self.failure is None

    def fail(self, reason: str, *, may_try_again: bool) -> None:
        """There is no code for now, or for good."""
        self.may_try_again = may_try_again
        self.failure = reason


class CompileQueue:
    """Compiles each order once.

    Args:
        start: gives the process that compiles.

    Attributes:
        compiled: how many it has compiled.
        found: how many another process had compiled before.
    """

    def __init__(self, start: Callable[[], CompileProcess] = CompileProcess) -> None:
        self.compiled = self.found = 0
        self._start = start
        self._codes: dict[Order, CompiledCode] = {}
        self._begin()

    def _begin(self) -> None:
        self._waiting: Queue[CompiledCode] = Queue()
        self._lock = Lock()
        self._thread: Thread | None = None

    def begin_in_fork(self) -> None:
        """Begin anew in a fork of the process, which has no thread but the one that has forked."""
        for code in self._codes.values():
            if code.is_waiting:
                code.fail("this process was forked while others were compiled", may_try_again=True)
        self._begin()

    def ask(self, order: Order, asker: object) -> CompiledCode:
        """The code that is compiled from an order, now or soon.

        Args:
            order: what to compile.
            asker: who wants it; once all are gone, what has not been begun is not compiled.
        """
        with self._lock:
            code = self._codes.setdefault(order, CompiledCode(order))
            is_waited_for = bool(code.wanted_by) and code.failure is None
            code.wanted_by.add(asker)
            if code.may_try_again:
                code.failure, code.may_try_again = None, False
            if code.is_waiting and not is_waited_for:
                self._waiting.put(code)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="dpnb-compile", daemon=True)
                self._thread.start()
        return code

    def _work(self) -> None:
        with self._start() as process:
            while (code := self._next()) is not None:
                if code.wanted_by and code.is_waiting:
                    try:
                        self._provide(code, process)
                    except Exception as error:  # a disk that is full
                        code.fail(f"compiling has failed ({error})", may_try_again=True)

    def _next(self) -> CompiledCode | None:
        while True:
            try:
                return self._waiting.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if self._waiting.empty():
                        self._codes = {o: code for o, code in self._codes.items() if code.wanted_by}
                        self._thread = None
                        return None

    def _provide(self, code: CompiledCode, process: CompileProcess) -> None:
        """Find code that is there already, or compile it."""
        folder, key = open_code_folder(), lasting_key(code.order)
        found = folder.find(key)
        if found is not None:
            try:
                self._load(code, *found)
            except RuntimeError:  # it is damaged
                folder.remove(key)
            else:
                self.found += 1
                return
        self._compile(code, process, folder, key)

    def _compile(
        self, code: CompiledCode, process: CompileProcess, folder: CodeFolder, key: str
    ) -> None:
        made = folder.new_file()
        try:
            answer = _ask(process, Job(code.order, str(made)))
            if answer.failure is not None:
                code.fail(answer.failure, may_try_again=answer.may_try_again)
                return
            self._load(code, folder.keep(key, made, answer.nesting), answer.nesting)
            self.compiled += 1
        except ProcessFailed as error:
            code.fail(f"the process that compiles has ended ({error})", may_try_again=True)
        finally:
            made.unlink(missing_ok=True)

    def _load(self, code: CompiledCode, path: Path, nesting: Nesting) -> None:
        code.nesting, code.path = nesting, path
        code.run = load_code(path, code.order)


def _ask(process: CompileProcess, job: Job) -> Any:
    for _ in range(TRIES - 1):
        try:
            return process.ask(job)
        except ProcessFailed:
            continue
    return process.ask(job)


def load_code(path: Path, order: Order, *, is_shared: bool = True) -> Any:
    """The code of a file, for the device that it was compiled for.

    Args:
        path: of the file.
        order: what it was compiled from.
        is_shared: whether several threads may call it at once. What is not shared asks a GPU for
            kernels and nothing else, so that these can be recorded.

    Raises:
        RuntimeError: it is not there, or is no such code.
    """
    device = order.find_device()
    index = -1 if device.type == "cpu" else device.index or 0
    return package_loader()(str(path), "model", not is_shared, 1, index).boxed_run


@cache
def shared_queue() -> CompileQueue:
    """The one of this process."""
    queue = CompileQueue()
    if sys.platform != "win32":
        os.register_at_fork(after_in_child=queue.begin_in_fork)
    return queue
