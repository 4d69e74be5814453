"""The results of all parts so far: one file of JSON and one of Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dpnb.atomic import write_text
from tests.gpu.rows import Row
from tests.gpu.tables import render_tables, without_unit

DONE = "done"

JSON_FILE, MARKDOWN_FILE, LOG_FILE = "results.json", "results.md", "log.txt"
"""Few, as not every machine gives back many."""


@dataclass
class PartResult:
    """What a part has found.

    Attributes:
        title: what the part is about.
        status: `"done"`, or what has become of it.
        seconds: that it took.
        limit: seconds that it had.
        rows: of its tables.
    """

    title: str
    status: str
    seconds: float = 0.0
    limit: float = 0.0
    rows: list[Row] = field(default_factory=list)

    @property
    def summary(self) -> str:
        """In one line."""
        failed = sum("failed" in row for row in self.rows)
        faults = f", {failed} of them say what failed" if failed else ""
        return f"{self.status} after {self.seconds:.0f} s: {len(self.rows)} rows{faults}"


@dataclass
class Results:
    """Those of all parts, by name, in the order in which they began."""

    parts: dict[str, PartResult] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether a part has been done."""
        return name in self.parts and self.parts[name].status == DONE

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the first part says of the machine, by name."""
        rows = self.parts["facts"].rows if "facts" in self.parts else []
        return {str(r["fact"]): r.get("value", r.get("value_bytes")) for r in rows if "fact" in r}

    def save(self, folder: Path) -> None:
        """Write both files; what stood there stays until they are whole."""
        values = {name: vars(part) for name, part in self.parts.items()}
        write_text(folder / JSON_FILE, json.dumps({"parts": values}, indent=1))
        write_text(folder / MARKDOWN_FILE, self.to_markdown())

    @classmethod
    def load(cls, path: Path) -> Results:
        """Those of a file, or of a folder in which it is.

        Raises:
            ValueError: these are no results.
        """
        file = path / JSON_FILE if path.is_dir() else path
        try:
            parts = json.loads(file.read_text())["parts"]
            return cls({name: PartResult(**values) for name, values in parts.items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{file} holds no results of `python -m tests.gpu` ({type(error).__name__}: "
                f"{error}); give the folder that its --out has named."
            ) from error

    def rows_of(self, names: Iterable[str]) -> list[Row]:
        """The rows of parts, with what was predicted for them where that is known."""
        predicted = self.parts["predictions"].rows if "predictions" in self.parts else []
        known = {(row["table"], row.get("plan")): row for row in predicted}
        found = []
        for name in names:
            for row in self.parts[name].rows if name in self.parts else []:
                beside = {} if name == "predictions" else known.get((row["table"], row.get("plan")))
                found.append(_compared(row, beside) if beside else row)
        return found

    def to_markdown(self) -> str:
        """All parts, each with its tables."""
        text = ["# On a GPU\n"]
        text.append("| part | | seconds | of |\n|---|---|---|---|\n")
        for part in self.parts.values():
            text.append(f"| {part.title} | {part.status} | {part.seconds:.0f} | {part.limit:.0f} |")
            text.append("\n")
        for name, part in self.parts.items():
            text.append(f"\n## {part.title}\n\n{part.summary}\n\n")
            text.append(render_tables(self.rows_of([name]), level=3))
        return "".join(text)


def _compared(row: Row, predicted: Row) -> Row:
    """A measured row with what was predicted, and by how much that is off."""
    found: Row = {}
    for key, value in row.items():
        found[key] = value
        foretold = predicted.get(f"predicted_{key}")
        if isinstance(value, (int, float)) and isinstance(foretold, (int, float)):
            found[f"predicted_{key}"] = foretold
            off = f"{without_unit(key)}_off_percent"
            found[off] = 100 * (foretold / value - 1) if value else None
    return found
