"""What is worth knowing of a first GPU: `python -m tests.gpu --help`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch

from tests.gpu.parts import PARTS, choose_parts
from tests.gpu.results import DONE, JSON_FILE, LOG_FILE, MARKDOWN_FILE, Results
from tests.gpu.runner import Runner


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    lines = [
        f"  {p.name:12} {p.title} (at most {p.limit:.0f} s, not with less than {p.least:.0f} s"
        + (", beside the others)" if p.is_beside else ")")
        for p in PARTS
    ]
    parser = argparse.ArgumentParser(
        prog="python -m tests.gpu",
        description="Measure dpnb on the CUDA device of this machine. Every part is a process of "
        f"its own. {JSON_FILE}, {MARKDOWN_FILE} and {LOG_FILE} are written while it goes on. "
        "Nothing is installed or fetched; what needs a package that is not there is left out, and "
        "the results say so.",
        epilog="parts, in their order:\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out = Path(os.environ.get("OUT", "gpu-results"))
    parser.add_argument("--out", type=Path, default=out, help="folder of results (%(default)s)")
    parser.add_argument("--parts", default="", help="names, with commas between them; all of them")
    parser.add_argument("--minutes", type=float, default=9.0, help="for all parts (%(default)s)")
    parser.add_argument("--resume", action="store_true", help="leave out what --out says is done")
    parser.add_argument("--rows", action="store_true", help="print all that is found")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, with tiny models")
    parser.add_argument(
        "--gpu-tests",
        choices=("fast", "all"),
        default="fast",
        help="which tests the part `tests` runs: all but pairs of strategies, or all (%(default)s)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for: 0 if all parts that began are done."""
    parser = make_parser()
    given = parser.parse_args(arguments)
    if not given.minutes > 0:
        parser.error(f"--minutes is {given.minutes:g}; give a number above 0, such as 9.")
    if not (given.dry_run or torch.cuda.is_available()):
        parser.error("torch finds no CUDA device here; --dry-run tries all of it on the CPU.")
    try:
        parts = choose_parts([name.strip() for name in given.parts.split(",") if name.strip()])
        is_known = given.resume and (given.out / JSON_FILE).exists()
        results = Results.load(given.out) if is_known else Results()
    except ValueError as error:
        parser.error(str(error))
    signal.signal(signal.SIGTERM, _leave)
    runner = Runner(
        given.out,
        given.minutes,
        given.dry_run,
        {"all_tests": "yes"} if given.gpu_tests == "all" else {},
        given.rows,
        say=lambda line: print(line, flush=True),
        results=results,
    )
    found = runner.run(parts)
    print(f"Results: {given.out / MARKDOWN_FILE}")
    ended = (found.parts[part.name].status for part in parts)
    return int(any(status != DONE and not status.startswith("skipped") for status in ended))


def _leave(number: int, frame: object) -> NoReturn:
    """Leave as after an error: no process goes on, and what was found is saved."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
