"""What a sweep has found: a table, figures, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpnb.bench.measurement import Measurement
from dpnb.planning.names import label
from dpnb.planning.workload import Workload
from dpnb.units import format_bytes, format_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import RenderableType

FORMAT = "dpnb sweep 1"

HEADINGS = ("Plan", "Peak", "Predicted", "Picture", "Predicted", "Spread", "Step", "Difference")


@dataclass(frozen=True)
class Report:
    """Measurements of plans.

    Attributes:
        model: whose plans these are.
        workload: what was drawn.
        budget: bytes that the device may hold; the figures show it.
        device: where it ran.
        measurements: the baseline without strategies first.
    """

    model: str
    workload: Workload
    budget: int
    device: str
    measurements: tuple[Measurement, ...] = ()

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self.measurements)

    def __len__(self) -> int:
        return len(self.measurements)

    @property
    def finished(self) -> tuple[Measurement, ...]:
        """The plans that have drawn."""
        return tuple(one for one in self.measurements if one.is_finished)

    @property
    def front(self) -> tuple[Measurement, ...]:
        """The plans that none beats both in memory and in time, by memory."""
        ordered = sorted(self.finished, key=lambda one: (one.peak, one.seconds or 0.0))
        found: list[Measurement] = []
        for one in ordered:
            if not found or (one.seconds or 0.0) < (found[-1].seconds or 0.0):
                found.append(one)
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "format": FORMAT,
            "model": self.model,
            "workload": asdict(self.workload),
            "budget": self.budget,
            "device": self.device,
            "measurements": [one.to_json() for one in self.measurements],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Report:
        """What `to_json` has written.

        Raises:
            ValueError: this is no sweep.
        """
        if values.get("format") != FORMAT:
            raise ValueError(
                f"the format is {values.get('format')!r}, not {FORMAT!r}; give a file that "
                "dpnb.sweep has written."
            )
        return cls(
            model=values["model"],
            workload=Workload(**values["workload"]),
            budget=values["budget"],
            device=values["device"],
            measurements=tuple(Measurement.from_json(one) for one in values["measurements"]),
        )

    def save(self, path: str | Path) -> None:
        """Write it as a JSON file, which a sweep can go on from."""
        Path(path).write_text(json.dumps(self.to_json(), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read what `save` or a sweep has written.

        Raises:
            ValueError: the file holds no sweep.
        """
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no JSON ({error}); give a sweep's file.") from error
        return cls.from_json(values)

    def figures(self) -> dict[str, Figure]:
        """The figures by name: `memory-against-time`, `stages` and `prediction`."""
        from dpnb.bench import figures

        return {
            "memory-against-time": figures.memory_against_time(self),
            "stages": figures.stages(self),
            "prediction": figures.prediction(self),
        }

    def write(self, folder: str | Path) -> list[Path]:
        """Write everything into a folder: `sweep.json`, and each figure as SVG and PNG."""
        place = Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        self.save(place / "sweep.json")
        written = [place / "sweep.json"]
        for name, figure in self.figures().items():
            for ending in ("svg", "png"):
                written.append(place / f"{name}.{ending}")
                figure.savefig(written[-1], dpi=200)
        return written

    def cells(self, one: Measurement) -> tuple[str, ...]:
        """A row as text, in the order of `HEADINGS`."""
        if one.seconds is None or one.spread is None or one.seconds_per_step is None:
            return (label(one.plan), one.outcome, *("" for _ in HEADINGS[2:]))
        predicted, batch = one.predicted, self.workload.batch
        difference = "" if one.difference is None else f"{one.difference:.1g}"
        return (
            label(one.plan),
            format_bytes(one.peak),
            "" if predicted is None else format_bytes(predicted.peak),
            format_seconds(one.seconds / batch),
            "" if predicted is None else format_seconds(predicted.seconds_per_picture),
            format_seconds(one.spread / batch),
            format_seconds(one.seconds_per_step),
            difference,
        )

    def _caption(self) -> str:
        return f"{self.model}, {self.workload.describe()}, on {self.device}: measured"

    def __rich__(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(title=Text(self._caption()), title_justify="left")
        for number, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if number else "left")
        for one in self.measurements:
            table.add_row(*(Text(cell) for cell in self.cells(one)))
        return table

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{heading}</th>" for heading in HEADINGS)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in self.cells(one))}</tr>"
            for one in self.measurements
        )
        return (
            f"<table><caption>{escape(self._caption())}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table>"
        )
