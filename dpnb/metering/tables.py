"""Traces as tables, for consoles and notebooks."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from dpnb.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from dpnb.metering.trace import Trace

HEADINGS = ("Stage", "Steps", "Time", "Per step", "Peak", "At its end")


def rows(trace: Trace) -> Iterator[tuple[str, ...]]:
    """A row of cells for each stage, in the order of `HEADINGS`."""
    for name, stage in trace.by_stage().items():
        each = stage.seconds_per_step
        yield (
            name,
            str(stage.steps),
            format_seconds(stage.seconds),
            "" if each is None else format_seconds(each),
            format_bytes(stage.peak),
            format_bytes(stage.current),
        )


def caption(trace: Trace) -> str:
    """What the table shows, in a sentence."""
    count = len(trace.runs)
    runs = f"{count} run{'s' * (count != 1)}"
    peak = f"peak {format_bytes(trace.peak)}, {format_bytes(trace.growth)} above the start"
    return f"{runs}, {peak}: {trace.label}; {trace.clock}"


def remarks(trace: Trace) -> Iterator[str]:
    """What happened, each with its time, and how runs ended that did not finish."""
    for event in trace.events:
        yield f"{format_seconds(event.time)}: {event.text}"
    for number, run in enumerate(trace.runs, start=1):
        if run.outcome != "finished":
            yield f"run {number} {run.outcome}" + (f": {run.error}" if run.error else "")


def for_console(trace: Trace) -> RenderableType:
    """A table of rich."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(caption(trace)), title_justify="left")
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right" if number else "left")
    for row in rows(trace):
        table.add_row(*row)
    return Group(table, *(Text(remark) for remark in remarks(trace)))


def for_notebook(trace: Trace) -> str:
    """A table in HTML."""
    head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows(trace)
    )
    below = "".join(f"<li>{escape(remark)}</li>" for remark in remarks(trace))
    table = f"<table><caption>{escape(caption(trace))}</caption><thead><tr>{head}</tr></thead>"
    return f"{table}<tbody>{body}</tbody></table>" + (f"<ul>{below}</ul>" if below else "")
