"""Interrupts at any line that a piece of code executes.

But for those with which a lock is taken and let go: Python looks for interrupts between calls, and
a lock is let go by the instruction after the last of what it guards.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias

import dpnb

Line: TypeAlias = tuple[str, int]
"""A file and the number of a line."""

LOCKED = re.compile(r"\s*with (.*, )?[\w.]*lock(, .*)?:\s*$")
PACKAGE = str(Path(dpnb.__file__).parent)


class Injection:
    """Traces the lines of the package that this thread executes within, and interrupts at one.

    Args:
        place: the line, and at which of its executions; `None` interrupts nowhere.

    Attributes:
        lines: how often each line was executed.
        has_hit: whether the interrupt was raised.
    """

    def __init__(self, place: tuple[Line, int] | None = None) -> None:
        self.lines: Counter[Line] = Counter()
        self.has_hit = False
        self._place = place

    def __enter__(self) -> Injection:
        self._former = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._former)

    def _enter(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        is_ours = frame.f_code.co_filename.startswith(PACKAGE)
        return self._at_line if is_ours and not self.has_hit else None

    def _at_line(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
        line = frame.f_code.co_filename, frame.f_lineno
        if event == "line" and not self.has_hit and not LOCKED.match(linecache.getline(*line)):
            self.lines[line] += 1
            if self._place == (line, self.lines[line]):
                self.has_hit = True
                raise KeyboardInterrupt
        return self._at_line


def lines_of(action: Callable[[], object]) -> Counter[Line]:
    """The lines that `action` executes, and how often each."""
    with Injection() as traced:
        action()
    return traced.lines
