"""Rows as tables of Markdown; the end of a column's name says how its values are shown."""

from __future__ import annotations

from collections.abc import Iterable

from dpnb.units import format_bytes, format_seconds
from tests.gpu.rows import Cell, Row

UNITS = ("_bytes", "_seconds", "_percent", "_ratio")


def render_tables(rows: Iterable[Row], level: int, columns: tuple[str, ...] = ()) -> str:
    """Every table with its name as a heading of this level.

    Args:
        rows: of all tables.
        level: of their headings.
        columns: the only ones that are shown, of a table that has any of them.
    """
    tables: dict[str, list[Row]] = {}
    for row in rows:
        tables.setdefault(str(row["table"]), []).append(row)
    return "".join(
        f"{'#' * level} {name}\n\n{render_table(found, columns)}\n"
        for name, found in tables.items()
    )


def render_table(rows: list[Row], only: tuple[str, ...] = ()) -> str:
    """One table; its columns are those of all its rows, in the order in which they first come."""
    every = list(dict.fromkeys(key for row in rows for key in row if key != "table"))
    columns = [column for column in only if column in every] or every
    lines = [
        "| " + " | ".join(without_unit(column).replace("_", " ") for column in columns) + " |",
        "|" + "---|" * len(columns),
    ]
    for row in rows:
        cells = (format_cell(column, row.get(column)) for column in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def format_cell(column: str, value: Cell) -> str:
    """A value as a person would write it."""
    if value is None:
        return ""
    if isinstance(value, (str, bool)):
        return str(value).replace("|", "\\|").replace("\n", " ")
    if column.endswith("_bytes"):
        return format_bytes(int(value))
    if column.endswith("_seconds"):
        return format_seconds(value)
    if column.endswith("_percent"):
        return f"{value:+.1f} %"
    if column.endswith("_ratio"):
        return f"{value:.3f}"
    return str(value) if isinstance(value, int) else f"{value:.3g}"


def without_unit(column: str) -> str:
    """The name of a column without its unit."""
    return next((column.removesuffix(unit) for unit in UNITS if column.endswith(unit)), column)
