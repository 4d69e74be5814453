"""Parts that go wrong, for the test of those that do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from tests.gpu.rows import Rows
from tests.gpu.setting import Setting


def hang(setting: Setting, rows: Rows) -> None:
    """Find something, start a process, and never end."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as other:
        rows.add("Found", what="one row", process=other.pid)
        time.sleep(600)


def crash(setting: Setting, rows: Rows) -> None:
    """Die as a fault in a driver makes one die."""
    rows.add("Found", what="one row")
    os.kill(os.getpid(), signal.SIGSEGV)


def fail(setting: Setting, rows: Rows) -> None:
    """Raise an error."""
    with rows.attempt("Found", "something that goes wrong"):
        raise ValueError("a part goes on after this")
    raise RuntimeError("the last words of a part")


def finish(setting: Setting, rows: Rows) -> None:
    """Go well."""
    rows.add(
        "Found", plan="nothing switched on", allocated_bytes=2 << 20, share_percent=float("nan")
    )
