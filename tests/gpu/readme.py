"""Writes what was measured into README: `python -m tests.gpu.readme RESULTS`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from dpnb.atomic import write_text
from tests.gpu.results import DONE, Results
from tests.gpu.rows import LEFT_OUT
from tests.gpu.suite import FAILED
from tests.gpu.tables import render_tables

README = Path(__file__).parent.parent.parent / "README.md"

BEGIN, END = "<!-- gpu results -->", "<!-- end of gpu results -->"
"""Lines of README, between which the tables are."""

STRATEGY = (
    "plan",
    "allocated_bytes",
    "predicted_allocated_bytes",
    "allocated_off_percent",
    "reserved_bytes",
    "predicted_reserved_bytes",
    "card_bytes",
    "predicted_card_bytes",
    "step_seconds",
    "predicted_step_seconds",
    "failed",
)

SHOWN: Mapping[str, tuple[str, ...]] = {
    "sd15": STRATEGY,
    "sdxl": STRATEGY,
    "streaming": (),
    "speed": (),
    "compiled": (),
    "whole": (),
    "panel": (),
    "emoji": (),
    "hazards": (),
    "tests": (),
    "pairs": (),
}
"""The parts of which README shows tables, and the columns of these, all where none are named."""

NAMED = ("driver", "capability", "torch", "CUDA", "cuDNN", "diffusers", "xformers", "torchao")


def describe(results: Results) -> str:
    """What README says of results.

    Raises:
        ValueError: they are of no GPU.
    """
    facts = results.facts
    card = facts.get("card")
    if not card:
        raise ValueError(
            "These results are not of a GPU: they name no card. Run `python -m tests.gpu` on a "
            "machine that has one."
        )
    versions = ", ".join(f"{name} {facts[name]}" for name in NAMED if facts.get(name))
    lines = [f"Measured on {card}, {facts.get('date', 'some day')} ({versions}).\n\n"]
    lines += _list_gaps(results)
    for name, columns in SHOWN.items():
        rows = [row for row in results.rows_of([name]) if row["table"] not in (LEFT_OUT, FAILED)]
        if rows:
            lines.append(f"**{results.parts[name].title}**\n\n")
            lines.append(render_tables(rows, level=4, columns=columns))
    return "".join(lines).rstrip("\n")


def insert(text: str, tables: str) -> str:
    """A README with these tables in the place of former ones.

    Args:
        text: of README.
        tables: as `describe` writes them.

    Raises:
        ValueError: it has no place for them.
    """
    before, is_begun, rest = text.partition(f"{BEGIN}\n")
    _, is_ended, after = rest.partition(f"\n{END}")
    if not (is_begun and is_ended):
        raise ValueError(f"README has no lines {BEGIN!r} and {END!r}, between which tables belong.")
    return f"{before}{BEGIN}\n{tables}\n{END}{after}"


def _list_gaps(results: Results) -> Iterator[str]:
    """What was not measured."""
    gaps = [f"{p.title} ({p.status})" for p in results.parts.values() if p.status != DONE]
    if gaps:
        yield f"Not measured, or not all of it: {'; '.join(gaps)}.\n\n"


def main(arguments: list[str] | None = None) -> int:
    """Write README anew."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.readme", description=__doc__)
    parser.add_argument("results", type=Path, help="the folder that --out has named")
    parser.add_argument("--readme", type=Path, default=README, help="(%(default)s)")
    given = parser.parse_args(arguments)
    try:
        tables = describe(Results.load(given.results))
        write_text(given.readme, insert(given.readme.read_text(), tables))
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
