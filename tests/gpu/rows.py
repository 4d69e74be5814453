"""What a part finds: rows of tables, each on the disk as soon as it is known."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

Cell: TypeAlias = str | int | float | bool | None

Row: TypeAlias = dict[str, Cell]
"""Column → value. `"table"` says of which table; the end of a column's name says its unit:
`_bytes`, `_seconds`, `_percent`, `_ratio`."""

LEFT_OUT = "Left out"
"""The table of what was not tried, and why."""


class Rows:
    """A file of rows, to which a part appends; whatever becomes of it, they are there.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.touch()

    def add(self, table: str, **values: Cell) -> None:
        """Append a row of a table; numbers that are none become words."""
        finite = {
            key: str(value) if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in values.items()
        }
        with self._path.open("a") as file:
            file.write(json.dumps({"table": table, **finite}) + "\n")

    def leave_out(self, what: str, why: str) -> None:
        """Say what was not tried, and why."""
        self.add(LEFT_OUT, what=what, why=why)

    @contextmanager
    def attempt(self, table: str, what: str, column: str = "what") -> Iterator[None]:
        """Within, an error is a row of the table and not the end.

        Args:
            table: its name.
            what: is tried.
            column: where the table says so.
        """
        try:
            yield
        except Exception as error:
            self.add(table, **{column: what, "failed": describe_error(error)})


def describe_error(error: Exception) -> str:
    """An error in one line, with the last place of ours that it came through."""
    lines = str(error).strip().splitlines() or [""]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "/dpnb/" in f.filename or "/tests/" in f.filename][-1:]
    at = "".join(f" ({Path(frame.filename).name}:{frame.lineno})" for frame in ours)
    return f"{type(error).__name__}: {lines[0][:160]}{at}"


def read_rows(path: Path) -> list[Row]:
    """The rows in a file; of the last one, that a killed process may have begun, only if whole."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
