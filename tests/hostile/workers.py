"""Processes that try one broken file each, watched from outside; forked, they start fast."""

from __future__ import annotations

import ast
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

import dpnb
from dpnb.errors import DpnbError
from tests.hostile.trials import NotFiniteError

PACKAGE = Path(dpnb.__file__).parent

SECONDS = 20.0

GROWTH = 1 << 30
"""So many bytes more than at its start are a blow-up of a process."""

OUTCOMES = ("refused", "drew", "not finite", "raw", "hang", "memory", "executed", "killed")


@dataclass(frozen=True)
class Result:
    """What became of one broken file.

    Attributes:
        outcome: one of `OUTCOMES`.
        detail: the error's kind, place and words.
    """

    outcome: str
    detail: str = ""


def run_apart(attempt: Callable[[], None]) -> Result:
    """Run `attempt` in a process of its own, which is ended if it takes too long or too much."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reader)
            _silence()
            os.write(writer, json.dumps(_outcome(attempt)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    ended_for = _watch(child)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    if ended_for is not None:
        return Result(ended_for)
    return Result(*json.loads(said)) if said else Result("killed", "the process ended by itself")


def _watch(child: int) -> str | None:
    """Wait until the process `child` has ended; why it was ended, if it was."""
    end, first = time.monotonic() + SECONDS, 0
    pause = 0.001
    while os.waitpid(child, os.WNOHANG)[0] == 0:
        size = _resident(child)
        first = first or size
        reason = "memory" if size - first > GROWTH else "hang" if time.monotonic() > end else None
        if reason is not None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return reason
        time.sleep(pause)
        pause = min(0.02, pause * 1.5)
    return None


def _resident(process: int) -> int:
    try:
        pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _silence() -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nothing, stream)


def _outcome(attempt: Callable[[], None]) -> tuple[str, str]:
    try:
        attempt()
    except NotFiniteError:
        return "not finite", ""
    except BaseException as error:
        return ("refused" if is_sentence(error) else "raw"), _described(error)
    return "drew", ""


def is_sentence(error: BaseException) -> bool:
    """Whether dpnb itself has worded `error`.

    It is one of dpnb's own errors, or a mistake in an argument that a `raise` of dpnb states.
    """
    if isinstance(error, DpnbError):
        return True
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    is_usual = isinstance(error, ValueError | TypeError | OSError | NotImplementedError)
    return is_usual and frame is not None and _is_raised(frame)


def _is_raised(frame: TracebackType) -> bool:
    path = Path(frame.tb_frame.f_code.co_filename)
    return path.is_relative_to(PACKAGE) and frame.tb_lineno in _raising_lines(path)


@cache
def _raising_lines(path: Path) -> frozenset[int]:
    """The lines of a file that belong to a `raise` of something."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(
        line
        for node in nodes
        if isinstance(node, ast.Raise) and node.exc is not None
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    )


def _described(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)]
    named = [f"{Path(f.filename).name}:{f.lineno}" for f in (*frames[-1:], *own[-1:])]
    places = " < ".join(dict.fromkeys(named))
    return f"{type(error).__name__} ({places}): {str(error)[:300]}"


def log(line: str) -> None:
    """Write a line to the standard error stream."""
    sys.stderr.write(f"{line}\n")
