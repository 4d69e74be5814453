"""The report of a sweep, which shows itself as a table and figures, and is kept as JSON."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dpnb.atomic import write_atomically, write_text
from dpnb.bench.measurement import Measurement
from dpnb.bench.quality_rows import find_picture_front, measurements_to_csv
from dpnb.fidelity.quality import PictureSet
from dpnb.files import read_json
from dpnb.planning.plan_names import plan_name, short_plan_name
from dpnb.planning.table import PlanTable
from dpnb.planning.ties import find_front
from dpnb.planning.workload import Workload
from dpnb.strategies.strategy import Effect, Plan, Strategy
from dpnb.tables import html_table, terminal_table
from dpnb.units import format_bytes, format_seconds
from dpnb.validation import Parsed, from_plain, to_plain, validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image
    from rich.console import Console, ConsoleOptions, RenderResult

FORMAT = "dpnb sweep 2"

SHOWN = 12
"""So many plans at most are shown by their pictures as a cell's value."""

HEADINGS = ("Plan", "Peak", "predicted", "Time", "predicted", "Spread", "Step", "Difference")


@dataclass(frozen=True)
class Report:
    """Measurements of plans.

    Attributes:
        table: the plans as they were predicted, what was drawn, the budget and the device.
        measurements: the baseline without strategies first.
        pictures: that plans were compared by; `None` where that was not asked for.
    """

    table: Annotated[PlanTable, Parsed(PlanTable.from_json)]
    measurements: tuple[Measurement, ...] = ()
    pictures: PictureSet | None = None

    @property
    def model(self) -> str:
        """Whose plans these are."""
        return self.table.model

    @property
    def workload(self) -> Workload:
        """What was drawn."""
        return self.table.workload

    @property
    def dtype(self) -> str | None:
        """Of the weights; `None` where that is not known."""
        return self.table.dtype

    @property
    def budget(self) -> int:
        """Bytes that the device may hold; the figures show it."""
        return self.table.budget

    @property
    def device(self) -> str:
        """Where it ran."""
        return self.table.device.name

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
        """The plans that none beats both in memory and in time, by memory.

        Of those that are as fast as each other only the least is among them.
        """
        few_first = sorted(self.finished, key=lambda one: len(one.plan))
        return tuple(find_front(few_first, lambda one: (one.peak, one.seconds or 0.0)))

    @property
    def picture_front(self) -> tuple[Measurement, ...]:
        """The plans that none beats in memory, in time and in the picture, by the picture.

        Pictures that are "the same" are equal; plans that were not compared are not among them.
        """
        return find_picture_front(self.finished)

    def picture_costs(self) -> tuple[tuple[Plan, float], ...]:
        """Each plan that was compared, and the size of what it does to the picture."""
        return tuple((one.plan, one.quality.size) for one in self if one.quality is not None)

    def of(self, *plan: Strategy) -> Measurement:
        """What exactly these strategies have cost.

        Raises:
            ValueError: they were not measured.
        """
        found = next((one for one in self.measurements if one.plan == frozenset(plan)), None)
        if found is None:
            raise ValueError(
                f"{plan_name(frozenset(plan))} was not measured; give it to dpnb.sweep among plans."
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "format": FORMAT,
            "table": self.table.to_json(),
            "measurements": [one.to_json() for one in self.measurements],
            "pictures": to_plain(self.pictures),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Report:
        """What `to_json` has written.

        Raises:
            ValueError: this is no sweep.
        """
        rest = dict(validate(Mapping[str, Any], values, "the sweep"))
        if (format_ := rest.pop("format", None)) != FORMAT:
            raise ValueError(
                f"the format is {format_!r}, not {FORMAT!r}; give a file that dpnb.sweep has "
                "written."
            )
        return from_plain(cls, rest, "sweep")

    def save(self, path: str | Path) -> None:
        """Write a JSON file that a sweep can go on from; it is whole as soon as it is there.

        Raises:
            SaveError: the disk is full; a former file stays.
        """
        write_text(path, json.dumps(self.to_json(), indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Report:
        """Read what `save` or a sweep has written.

        Raises:
            ValueError: the file holds no sweep.
        """
        return cls.from_json(read_json(Path(path)))

    def figures(self) -> dict[str, Figure]:
        """The figures by name: `memory-against-time`, `stages` and `prediction`.

        Where pictures were compared, `picture` too.
        """
        from dpnb.bench import figures, quality_figures

        drawn = {
            "memory-against-time": figures.draw_memory_against_time(self),
            "stages": figures.draw_stages(self),
            "prediction": figures.draw_prediction(self),
        }
        if self.picture_front:
            drawn["picture"] = quality_figures.draw_picture_against_costs(self, self.picture_front)
        return drawn

    def sheet(self) -> Image:
        """What each plan has drawn: a row for each plan, a column for each prompt.

        Raises:
            ValueError: pictures were not compared.
        """
        from dpnb.bench import quality_figures

        if self.pictures is None or not self.picture_front:
            raise ValueError("no pictures were compared; sweep with quality=True.")
        return quality_figures.draw_plan_sheet(self.finished, self.pictures)

    def to_csv(self) -> str:
        """A line for each plan; bytes, seconds, and what it does to the picture."""
        return measurements_to_csv(self.measurements, self.table)

    def write(self, folder: str | Path) -> list[Path]:
        """Write everything into a folder: `sweep.json`, `sweep.csv`, and figures as SVG and PNG.

        Where pictures were compared, also those of each plan, as `pictures.png`.
        """
        place = Path(folder)
        self.save(place / "sweep.json")
        write_text(place / "sweep.csv", self.to_csv())
        written = [place / "sweep.json", place / "sweep.csv"]
        if self.picture_front:
            written.append(place / "pictures.png")
            with write_atomically(written[-1]) as file:
                self.sheet().save(file, "PNG")
        for name, figure in self.figures().items():
            for ending in ("svg", "png"):
                written.append(place / f"{name}.{ending}")
                with write_atomically(written[-1]) as file:
                    figure.savefig(file, format=ending, dpi=200)
        return written

    @property
    def headings(self) -> tuple[str, ...]:
        """Of the table's columns."""
        return HEADINGS if self.pictures is None else (*HEADINGS, "FLIP", "Picture")

    def cells(self, one: Measurement) -> tuple[str, ...]:
        """A row as text, in the order of `headings`."""
        if one.seconds is None or one.seconds_per_step is None:
            return (short_plan_name(one.plan), one.outcome, *("" for _ in self.headings[2:]))
        predicted, batch = one.predicted, self.workload.batch
        difference = "" if one.difference is None else f"{one.difference:.1g}"
        found = one.quality
        picture = ("", "") if found is None else (f"{found.flip:.3f}", str(found.words))
        cells = (
            short_plan_name(one.plan),
            format_bytes(one.peak),
            "" if predicted is None else format_bytes(predicted.peak),
            format_seconds(one.seconds / batch),
            "" if predicted is None else format_seconds(predicted.seconds_per_picture),
            "" if one.spread is None else format_seconds(one.spread / batch),
            format_seconds(one.seconds_per_step),
            difference,
            *picture,
        )
        return cells[: len(self.headings)]

    def _keeps_limits(self, one: Measurement) -> bool:
        """Whether a plan stays within the budget, and is known to keep the picture as it may be."""
        most, found = self.table.max_difference, one.quality
        is_exact = all(strategy.effect is Effect.EXACT for strategy in one.plan)
        known = is_exact if found is None or most is None else found.size <= most
        keeps_picture = most is None or known
        return one.peak <= self.budget - self.table.device.reserved and keeps_picture

    def _rows(self) -> list[tuple[tuple[str, ...], bool]]:
        """The cells of each plan, and whether it is dimmed."""
        return [(self.cells(one), not self._keeps_limits(one)) for one in self.measurements]

    def _caption(self) -> str:
        measured = f"{self.model}, {self.workload.describe()}, on {self.device}: measured"
        if self.pictures is None:
            return measured
        return f"{measured}; FLIP's mean over {self.pictures.describe()}"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield terminal_table(
            self._caption(),
            self.headings,
            self._rows(),
            width=options.max_width,
            text_columns=("Plan", "Picture"),
            optional_columns=("Spread", "Step", *(self.headings[-1:] if self.pictures else ())),
        )

    def _repr_html_(self) -> str:
        from dpnb.bench import quality_figures

        table = html_table(self._caption(), self.headings, self._rows())
        front, pictures = self.picture_front, self.pictures
        if not front or pictures is None:
            return table
        file = io.BytesIO()
        quality_figures.draw_plan_sheet(front[:SHOWN], pictures).save(file, "JPEG", quality=90)
        data = base64.b64encode(file.getvalue()).decode()
        alt = "What the plans have drawn that none beats in memory, in time and in the picture"
        look = "max-width:100%"
        return f'{table}<img src="data:image/jpeg;base64,{data}" alt="{alt}" style="{look}"/>'
