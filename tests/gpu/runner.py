"""Parts one after the other, with the results on the disk at any moment."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.gpu.parts import Part
from tests.gpu.processes import PartProcess
from tests.gpu.results import LOG_FILE, PartResult, Results
from tests.gpu.setting import Setting
from tests.gpu.tables import format_cell

POLL_S = 0.1
SAVE_EVERY_S = 2.0


@dataclass
class Runner:
    """Runs parts within a time.

    Args:
        out: the folder of results.
        minutes: for all of them.
        is_dry: whether all runs on the CPU, with the smallest models.
        options: further words for every part.
        shows_rows: whether all rows are for people, or only what failed.
        say: what is done with each line for people.
    """

    out: Path
    minutes: float
    is_dry: bool = False
    options: dict[str, str] = field(default_factory=dict)
    shows_rows: bool = False
    say: Callable[[str], object] = print
    results: Results = field(default_factory=Results)

    def run(self, parts: Sequence[Part]) -> Results:
        """Run parts; those that are done already are left as they are.

        Whatever ends it, what was found until then is on the disk, and no process goes on.
        """
        self._ends = time.monotonic() + 60 * self.minutes
        self._beside: dict[str, PartProcess] = {}
        self.out.mkdir(parents=True, exist_ok=True)
        waiting = [part for part in parts if not self.results.has(part.name)]
        for part in (part for part in parts if part not in waiting):
            self.say(f"{part.name}: done before")
        with ExitStack() as ending, tempfile.TemporaryDirectory(prefix="dpnb-gpu-") as folder:
            self._folder = Path(folder)
            ending.callback(self.results.save, self.out)
            ending.callback(self._stop_all)
            self._running: list[PartProcess] = []
            while waiting:
                part = waiting.pop(0)
                self._run_part(part, sum(p.least for p in waiting if not p.is_beside))
            self._finish_beside()
        return self.results

    def _run_part(self, part: Part, reserved: float) -> None:
        """Run one, or say that there is no time for it.

        Args:
            part: which.
            reserved: seconds that are kept for parts after it, unless this one needs them.
        """
        limit = part.dry if self.is_dry else part.limit
        left = self._ends - time.monotonic()
        seconds = min(limit, left, max(part.least, left - reserved))
        self.results.parts.pop(part.name, None)
        result = self.results.parts[part.name] = PartResult(part.title, "running", limit=seconds)
        if left < (5 if self.is_dry else part.least):
            result.status = "skipped: no time left"
            self._tell(part.name)
            return
        process = self._start(part, seconds)
        if part.is_beside:
            self._beside[part.name] = process
            self.say(f"{part.name}: runs beside the parts that follow")
            return
        self._follow(part.name, process)
        self._tell(part.name)

    def _start(self, part: Part, seconds: float) -> PartProcess:
        card = self.results.facts.get("card")
        known = {"card": str(card)} if card else {}
        options = {**known, **self.options, **dict(part.options)}
        setting = Setting(str(self.out.resolve()), seconds, self.is_dry, options)
        process = PartProcess(
            part.call,
            setting,
            self._folder / f"{part.name}.jsonl",
            self.out / LOG_FILE,
            has_device=not part.is_beside,
        )
        self._running.append(process)
        return process

    def _follow(self, name: str, process: PartProcess) -> None:
        """Wait for a part, show its rows as they come, and save them."""
        shown, saved = 0, time.monotonic()
        status = None
        while status is None:
            status = process.poll()
            self._read(name, process, status)
            for other in list(self._beside):
                self._read_beside(other)
            rows = self.results.parts[name].rows
            for row in rows[shown:]:
                if not ("failed" in row or self.shows_rows):
                    continue
                cells = (f"{k} {format_cell(k, v)}" for k, v in row.items() if k != "table")
                self.say(f"  {row['table']}: {', '.join(cells)}")
            shown = len(rows)
            if time.monotonic() - saved > SAVE_EVERY_S:
                self.results.save(self.out)
                saved = time.monotonic()
            if status is None:
                time.sleep(POLL_S)

    def _read(self, name: str, process: PartProcess, status: str | None) -> None:
        result = self.results.parts[name]
        result.rows, result.seconds = process.rows, process.elapsed
        result.status = status or "running"

    def _read_beside(self, name: str) -> None:
        process = self._beside[name]
        status = process.poll()
        self._read(name, process, status)
        if status is not None:
            del self._beside[name]
            self._tell(name)

    def _finish_beside(self) -> None:
        """Wait for what runs beside, as long as there is time."""
        while self._beside and time.monotonic() < self._ends:
            for name in list(self._beside):
                self._read_beside(name)
            time.sleep(POLL_S)
        for name in self._beside:
            self.results.parts[name].status = "stopped: the time of all parts is up"
            self._tell(name)

    def _tell(self, name: str) -> None:
        self.results.save(self.out)
        self.say(f"{name}: {self.results.parts[name].summary}")

    def _stop_all(self) -> None:
        for process in self._running:
            process.stop()
        for result in self.results.parts.values():
            if result.status == "running":
                result.status = "stopped: all of it was"
