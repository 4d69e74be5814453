"""Where orders are compiled: by another process, one after the other, while everything goes on."""

from __future__ import annotations

import atexit
import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from queue import Empty, Queue
from shutil import rmtree
from tempfile import mkdtemp
from threading import Lock, Thread
from typing import Any
from weakref import WeakSet

import torch
from typing_extensions import Self

from dpnb.strategies.compile_order import Order, Shape
from dpnb.strategies.compile_worker import Answer, Job

IDLE = 20.0
"""Seconds without an order after which the process ends."""


@dataclass(eq=False)
class Piece:
    """A piece of compiled code.

    Attributes:
        order: what it is compiled from.
        run: the code, once it is there: it takes weights and inputs, and gives tensors.
        path: of the file that it was loaded from.
        shape: how these are nested.
        failure: why it never will be.
        askers: who wants it.
    """

    order: Order
    run: Any = None
    path: Path | None = None
    shape: Shape = None
    failure: str | None = None
    askers: WeakSet[Any] = field(default_factory=WeakSet)

    @property
    def is_waiting(self) -> bool:
        """Whether it is neither there nor known never to be."""
        return self.run is None and self.failure is None


class Workshop:
    """Compiles each order once.

    Attributes:
        compiled: how many it has compiled.
    """

    def __init__(self) -> None:
        self.compiled = 0
        self._folder: Path | None = None
        self._pieces: dict[str, Piece] = {}
        self._waiting: Queue[Piece] = Queue()
        self._lock = Lock()
        self._thread: Thread | None = None

    def ask(self, order: Order, asker: object) -> Piece:
        """The piece that is compiled from an order, now or soon.

        Args:
            order: what to compile.
            asker: who wants it; once all are gone, what has not been begun is not compiled.
        """
        with self._lock:
            piece = self._pieces.setdefault(order.key, Piece(order))
            is_asked = bool(piece.askers)
            piece.askers.add(asker)
            if piece.is_waiting and not is_asked:
                self._waiting.put(piece)
            if self._thread is None:
                self._thread = Thread(target=self._work, name="dpnb-compile", daemon=True)
                self._thread.start()
        return piece

    def _work(self) -> None:
        with _Process() as process:
            while (piece := self._next()) is not None:
                if piece.askers and piece.is_waiting:
                    self._compile(piece, process)

    def _next(self) -> Piece | None:
        try:
            return self._waiting.get(timeout=IDLE)
        except Empty:
            with self._lock:
                if self._waiting.empty():
                    self._thread = None
                    return None
            return self._next()

    def _compile(self, piece: Piece, process: _Process) -> None:
        try:
            path = self._make_folder() / f"{piece.order.key}.pt2"
            answer = process.ask(Job(piece.order, str(path)))
            if answer.failure is None:
                piece.shape, piece.path = answer.shape, path
                piece.run = load_code(path, piece.order)
                self.compiled += 1
            else:
                piece.failure = answer.failure
        except Exception as error:  # a process that ends, a disk that is full
            piece.failure = f"the process that compiles has failed ({error!r})"

    def _make_folder(self) -> Path:
        """Where code is kept until this process ends."""
        if self._folder is None:
            self._folder = Path(mkdtemp(prefix="dpnb-compiled-"))
            atexit.register(rmtree, self._folder, ignore_errors=True)
        return self._folder


def load_code(path: Path, order: Order, *, is_shared: bool = True) -> Any:
    """The code of a file, for the device that it was compiled for.

    Args:
        path: of the file.
        order: what it was compiled from.
        is_shared: whether several threads may call it at once. What is not shared asks a GPU for
            kernels and nothing else, so that these can be recorded.

    Torch's own loader, of which its Python API is a wrapper that imports the compiler first, and
    that takes as long as many pictures.
    """
    device = order.inputs[0].device
    index = -1 if device.type == "cpu" else device.index or 0
    return torch._C._aoti.AOTIModelPackageLoader(
        str(path), "model", not is_shared, 1, index
    ).boxed_run


@cache
def shared_workshop() -> Workshop:
    """The one of this process."""
    return Workshop()


class _Process:
    """The process that compiles: started when it is asked, and anew where it has ended."""

    def __init__(self) -> None:
        self._popen: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        popen, self._popen = self._popen, None
        if popen is not None:
            atexit.unregister(popen.kill)
            popen.kill()
            popen.communicate()

    def ask(self, job: Job) -> Answer:
        """Its answer to a job, for which this waits."""
        popen = self._popen = self._popen or _start()
        try:
            pickle.dump(job, popen.stdin)  # type: ignore[arg-type]
            popen.stdin.flush()  # type: ignore[union-attr]
            answer: Answer = pickle.load(popen.stdout)  # type: ignore[arg-type]
        except BaseException:
            self.__exit__()
            raise
        return answer


def _start() -> subprocess.Popen[bytes]:
    paths = [str(Path(__file__).parents[2]), *filter(None, sys.path)]
    popen = subprocess.Popen(
        [sys.executable, "-c", "from dpnb.strategies.compile_worker import main; main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    atexit.register(popen.kill)  # it would go on with what it is at
    return popen
