"""Tables for terminals and for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 112
"""Characters of a line from which on all columns are shown."""

FADED = ' style="opacity:0.55"'


def terminal_table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[tuple[Sequence[str], bool]],
    *,
    width: int,
    text_columns: Sequence[str],
    optional_columns: Sequence[str],
) -> Table:
    """A table of rich, which leaves out what matters less where a line is short.

    Args:
        caption: above it.
        headings: of all columns; the first one is the plan's.
        rows: their cells, and whether they are dimmed.
        width: characters of a line.
        text_columns: headings of columns with text; others are numbers.
        optional_columns: headings of columns that a narrow line lacks.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = [n for n, name in enumerate(headings) if width >= WIDE or name not in optional_columns]
    table = Table(
        title=Text(caption), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1)
    )
    for number in shown:
        justify: Literal["left", "right"] = "left" if headings[number] in text_columns else "right"
        table.add_column(headings[number], justify=justify, no_wrap=number > 0)
    for cells, is_dimmed in rows:
        table.add_row(*(Text(cells[n]) for n in shown), style="dim" if is_dimmed else None)
    return table


def html_table(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[tuple[Sequence[str], bool]],
    remarks: Iterable[str] = (),
) -> str:
    """A table as HTML, and a list of remarks below it.

    Args:
        caption: above it.
        headings: of the columns, as HTML.
        rows: their cells as text, and whether they are dimmed.
        remarks: sentences.
    """
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    body = "".join(
        f"<tr{FADED if is_dimmed else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for cells, is_dimmed in rows
    )
    below = "".join(f"<li>{escape(remark)}</li>" for remark in remarks)
    table = f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
    return f"{table}<tbody>{body}</tbody></table>" + (f"<ul>{below}</ul>" if below else "")
