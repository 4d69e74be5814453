"""Planning for Z-Image at its true size: how long it takes, and how much memory.

`python -m tests.benchmarks.bench_z_image [side in pixels] [steps]`. A folder like the published one
is made, of settings and of weight files whose headers are true and whose weights are holes.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

import dpnb
from tests.planning.z_image import PUBLISHED, write_z_image

MIBIBYTE = 1 << 20


def main(side: int, steps: int | None) -> None:
    """Print the plans, and what finding them took."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_z_image(folder, PUBLISHED)
        before, started = resident(), time.perf_counter()
        with PeakOfThisProcess() as peak:
            table = dpnb.plan(
                folder, height=side, width=side, steps=steps, dtype="bfloat16", device="RTX 4090"
            )
        took = time.perf_counter() - started
    for row in table:
        print(*table.cells(row), sep="  ")
    print(f"{len(table)} plans in {took:.1f} s; resident {before} MiB before, {peak.mib} at most")


class PeakOfThisProcess:
    """Looks at this process's resident memory fifty times a second."""

    def __enter__(self) -> PeakOfThisProcess:
        self.mib, self._is_over = resident(), threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.02):
            self.mib = max(self.mib, resident())


def resident() -> int:
    """MiB of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 // MIBIBYTE


if __name__ == "__main__":
    given = [int(one) for one in sys.argv[1:]]
    main(given[0] if given else 1024, given[1] if len(given) > 1 else None)
