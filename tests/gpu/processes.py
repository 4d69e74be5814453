"""Parts as processes, whose rows are read while they run, and which are stopped at their limit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from tests.gpu.results import DONE
from tests.gpu.rows import Row, read_rows
from tests.gpu.setting import Setting

LAST_WORDS_S = 2.0
"""A process that is stopped has so long to say where it was."""

ERROR = re.compile(r"[\w.]+(Error|Exception|Exit)\b")
"""How the last line of a traceback begins."""


class PartProcess:
    """A part that runs.

    Args:
        call: its module and function.
        setting: under what it measures, with its seconds.
        rows: the file for its rows.
        log: the file that its output is appended to.
        has_device: whether it may see the GPU.
    """

    def __init__(
        self, call: str, setting: Setting, rows: Path, log: Path, *, has_device: bool = True
    ) -> None:
        self.began = time.monotonic()
        self.seconds = setting.seconds
        self._rows, self._log = rows, log
        rows.touch()
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        if not has_device:
            environment["CUDA_VISIBLE_DEVICES"] = ""
        command = [sys.executable, "-m", "tests.gpu.child", call, str(rows), setting.to_text()]
        with log.open("a") as output:
            output.write(f"\n==== {call}\n")
            output.flush()
            self._log_begins = output.tell()
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=os.setpgrp,  # in the session of who may be killed, and ends with it
            )

    @property
    def rows(self) -> list[Row]:
        """What it has found so far."""
        return read_rows(self._rows)

    @property
    def elapsed(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.began

    def poll(self) -> str | None:
        """What has become of it; `None` while it runs. At its limit it is stopped."""
        code = self._process.poll()
        if code is None and self.elapsed < self.seconds:
            return None
        self.stop()
        if code is None:
            return f"stopped at its limit of {self.seconds:.0f} s"
        if code == 0:
            return DONE
        if code < 0:
            return f"crashed ({signal.Signals(-code).name})"
        return f"failed: {self._last_words()}"

    def stop(self) -> None:
        """End it and what it has started; it may say first where it is."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGABRT)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(LAST_WORDS_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):  # a driver may keep it for longer
            self._process.wait(LAST_WORDS_S)

    def _last_words(self) -> str:
        """The error that it ended with, or else the last line that it has said."""
        said = self._log.read_bytes()[self._log_begins :].decode(errors="replace")
        lines = said.strip().splitlines() or ["it said nothing"]
        errors = [line for line in lines if ERROR.match(line)]
        return (errors or lines)[-1][:200]
