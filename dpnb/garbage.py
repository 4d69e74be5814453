"""Python's search for garbage, and when it only stands in the way."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_pauses = 0
_was_enabled = False


@contextmanager
def pause_garbage_collection() -> Iterator[None]:
    """Within it Python looks for no garbage.

    Whoever builds thousands of objects that all stay would wait for as many looks at all of them:
    half of the time that a pipeline takes to load. Several threads may be within; where somebody
    has switched the search off, it stays off.
    """
    global _pauses, _was_enabled
    with _lock:
        if not _pauses:
            _was_enabled = gc.isenabled()
            gc.disable()
        _pauses += 1
    try:
        yield
    finally:
        with _lock:
            _pauses -= 1
            if not _pauses and _was_enabled:
                gc.enable()
