"""What an import costs, in fresh interpreters, in turn with diffusers.

Run with `python -m tests.benchmarks.bench_import`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from functools import partial

from tests.benchmarks.compare import compare

STATEMENTS = (
    ("import dpnb", "import diffusers"),
    ("from dpnb import StableDiffusionPipeline", "from diffusers import StableDiffusionPipeline"),
)


def bare_start() -> float:
    """The shortest of some starts of an interpreter that imports nothing, in seconds."""
    times = []
    for _ in range(5):
        started = time.perf_counter()
        run("pass")
        times.append(time.perf_counter() - started)
    return min(times)


def run(statement: str) -> None:
    """Run `statement` in a fresh interpreter."""
    subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)


if __name__ == "__main__":
    bare = bare_start()
    print(f"an interpreter that imports nothing: {bare * 1e3:.0f} ms, taken off below")
    for ours, theirs in STATEMENTS:
        result = compare(
            partial(run, ours),
            partial(run, theirs),
            rounds=5,
            clock=lambda: time.perf_counter(),
            offset=bare,
        )
        print(f"{ours:42} {result}", flush=True)
