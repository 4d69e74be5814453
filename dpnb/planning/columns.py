"""Tables for terminals, which leave out what matters less where there is no room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 112
"""Characters of a line from which on all columns are shown."""


def table_of(
    caption: str,
    headings: Sequence[str],
    rows: Iterable[tuple[Sequence[str], bool]],
    *,
    width: int,
    words: Sequence[str],
    spare: Sequence[str],
) -> Table:
    """A table that reads well in a line of so many characters.

    Args:
        caption: above it.
        headings: of all columns; the first one is the plan's.
        rows: their cells, and whether they stand back.
        width: characters of a line.
        words: headings of columns with text; others are numbers.
        spare: headings of columns that a narrow line lacks.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    shown = [n for n, name in enumerate(headings) if width >= WIDE or name not in spare]
    table = Table(
        title=Text(caption), title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1)
    )
    for number in shown:
        justify: Literal["left", "right"] = "left" if headings[number] in words else "right"
        table.add_column(headings[number], justify=justify, no_wrap=number > 0)
    for cells, stands_back in rows:
        table.add_row(*(Text(cells[n]) for n in shown), style="dim" if stands_back else None)
    return table
