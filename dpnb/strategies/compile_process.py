"""The process that compiles, as whoever asks it sees it."""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from typing_extensions import Self

from dpnb.strategies.compile_worker import Answer, Job

MAIN = "from dpnb.strategies.compile_worker import main; main()"


class ProcessFailed(Exception):  # noqa: N818
    """The process has ended, or could not be started: nothing is known of what it was asked."""


class CompileProcess:
    """A process that is started when it is asked, and anew where it has ended.

    Nobody interrupts it who interrupts this process: it is in no group with it.
    """

    def __init__(self, command: str = MAIN) -> None:
        self._command = command
        self._popen: subprocess.Popen[bytes] | None = None
        self._complaints: IO[bytes] | None = None
        self._end: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> str:
        """End it, whatever it is at.

        Returns:
            The last line that it has complained in.
        """
        popen, self._popen = self._popen, None
        if popen is not None and self._end is not None:
            atexit.unregister(self._end)
            self._end()
            popen.communicate()
        complaints, self._complaints = self._complaints, None
        return _last_line(complaints) if complaints is not None else ""

    def ask(self, job: Job) -> Answer:
        """Its answer to a job, for which this waits.

        Raises:
            ProcessFailed: it has ended, or could not be started.
        """
        try:
            popen = self._popen = self._popen or self._start()
            assert popen.stdin is not None
            assert popen.stdout is not None
            pickle.dump(job, popen.stdin)
            popen.stdin.flush()
            answer: Answer = pickle.load(popen.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            raise ProcessFailed(self.close() or str(error)) from error
        except BaseException:
            self.close()
            raise
        return answer

    def _start(self) -> subprocess.Popen[bytes]:
        # What is imported here is what it imports; the folder of dpnb comes last, since there may
        # be anything else in it.
        paths = dict.fromkeys([*filter(None, sys.path), str(Path(__file__).parents[2])])
        self._complaints = TemporaryFile()  # noqa: SIM115
        popen = subprocess.Popen(
            [sys.executable, "-c", self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            start_new_session=True,
        )
        self._end = partial(_end, popen, os.getpid())
        atexit.register(self._end)  # it would go on with what it is at
        return popen


def _last_line(file: IO[bytes]) -> str:
    """Of a file, which is closed then."""
    with file:
        file.seek(0)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else ""


def _end(popen: subprocess.Popen[bytes], owner: int) -> None:
    """End a process, and what it has started; a fork of the one that has started it does not."""
    if os.getpid() != owner or popen.poll() is not None:
        return
    with suppress(ProcessLookupError):
        if sys.platform == "win32":
            popen.kill()
        else:
            os.killpg(popen.pid, signal.SIGKILL)
