"""Plans with what they are predicted to cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from dpnb.atomic import write_text
from dpnb.errors import DpnbError
from dpnb.files import read_json
from dpnb.numbers import coerce_numbers
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.plan_names import plan_name, short_plan_name
from dpnb.planning.ties import TIE, find_front, group_ties
from dpnb.planning.workload import Workload
from dpnb.stages import Stage
from dpnb.strategies.plans import plan_from_json, plan_to_json, plan_to_python
from dpnb.strategies.strategy import Effect, Plan, Strategy
from dpnb.tables import html_table, terminal_table
from dpnb.units import format_bytes, format_seconds
from dpnb.validation import Parsed, from_plain, validate

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from dpnb.pipelines.explorable import ExplorablePipeline

FORMAT = "dpnb plans 1"


class PlanError(DpnbError, ValueError):
    """No plan does what was asked; the message says what would."""


@dataclass(frozen=True)
class PlanRow:
    """A plan and its prediction.

    Attributes:
        plan: what is switched on.
        peaks: the most bytes on the device in each stage, weights and all else.
        seconds_per_step: of a denoising step.
        seconds: of the whole run.
        seconds_per_picture: of it.
        bound_by: what its denoising waits for most: `"arithmetic"`, `"memory"`, `"link"`, `"host"`.
        moved: bytes that come from the host in a run.
        is_slowest: whether the picture decides how long it takes, and this is the longest.
    """

    plan: Annotated[Plan, Parsed(plan_from_json)]
    peaks: Mapping[str, int]
    seconds_per_step: float
    seconds: float
    seconds_per_picture: float
    bound_by: str
    moved: int
    is_slowest: bool = False

    @property
    def peak(self) -> int:
        """The most bytes on the device."""
        return max(self.peaks.values())

    @property
    def name(self) -> str:
        """The strategies, in words."""
        return plan_name(self.plan)

    @property
    def is_exact(self) -> bool:
        """Whether the picture stays as it is, up to rounding."""
        return all(strategy.effect is Effect.EXACT for strategy in self.plan)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {**values, "plan": plan_to_json(self.plan), "peaks": dict(self.peaks)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PlanRow:
        """What `to_json` has written.

        Raises:
            ValueError: this is no such row.
        """
        return from_plain(cls, values, "row")


@dataclass(frozen=True)
class PlanTable:
    """Every plan, the best that fits first. All figures are predictions.

    Attributes:
        model: what was planned for.
        workload: what is drawn.
        device: that would compute.
        budget: bytes of tensors that the device may hold.
        rows: those that fit by time, and by their peaks where times differ by less than a
            hundredth; then the others by their peaks.
        approximate: whether plans may change the picture slightly.
        left_out: strategies that are in no plan, and why.
        dtype: of the weights.
    """

    model: str
    workload: Workload
    device: DeviceProfile
    budget: int
    rows: tuple[PlanRow, ...]
    approximate: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    dtype: str | None = None

    def __post_init__(self) -> None:
        coerce_numbers(self)

    def __iter__(self) -> Iterator[PlanRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def fits(self, row: PlanRow) -> bool:
        """Whether a plan stays within the budget."""
        return row.peak <= self.budget

    @property
    def fitting(self) -> tuple[PlanRow, ...]:
        """The plans that stay within the budget, the fastest first."""
        return tuple(row for row in self.rows if self.fits(row))

    @property
    def front(self) -> tuple[PlanRow, ...]:
        """The plans that none beats both in memory and in time, by memory.

        Of those that are as fast as each other only the least is among them.
        """
        found = find_front(self.fitting, _cost)
        fastest = min((row.seconds for row in found), default=math.inf)
        larger = find_front((row for row in self.rows if not self.fits(row)), _cost)
        return (*found, *(row for row in larger if (1 + TIE) * row.seconds < fastest))

    @property
    def least(self) -> PlanRow:
        """The plan that needs least."""
        return min(self.rows, key=lambda row: (row.peak, row.seconds))

    def of(self, *plan: Strategy) -> PlanRow:
        """The prediction for exactly these strategies.

        Raises:
            PlanError: they are not among the plans.
        """
        found = next((row for row in self.rows if row.plan == frozenset(plan)), None)
        if found is None:
            raise PlanError(
                f"{plan_name(frozenset(plan))} is not among these plans; ask for it with "
                "dpnb.plan(…, plans=[…])."
            )
        return found

    def choose(self, rows: Iterable[PlanRow]) -> PlanTable:
        """The table with these of its rows alone."""
        wanted = {row.plan for row in rows}
        return replace(self, rows=tuple(row for row in self.rows if row.plan in wanted))

    def within(self, budget: int) -> PlanTable:
        """The same plans in the order that suits another budget.

        Args:
            budget: bytes of tensors that the device may hold.
        """
        few_first = sorted(self.rows, key=lambda row: len(row.plan))
        fitting = group_ties((row for row in few_first if row.peak <= budget), _cost)
        others = sorted((row for row in few_first if row.peak > budget), key=_cost)
        return replace(self, budget=budget, rows=(*chain.from_iterable(fitting), *others))

    def best(self) -> PlanRow:
        """The fastest plan that stays within the budget; of several, what needs least memory.

        Raises:
            PlanError: none does; the message says what would work.
        """
        if not self.fitting:
            raise PlanError(self._refusal())
        return self.fitting[0]

    def apply(self, pipe: ExplorablePipeline, row: PlanRow | None = None) -> PlanRow:
        """Switch exactly one plan on.

        Args:
            pipe: the pipeline.
            row: which plan; the best by default.

        Returns:
            It.

        Raises:
            PlanError: none stays within the budget.
            StrategyError: it cannot be switched on here; nothing has changed then.
        """
        chosen = self.best() if row is None else row
        pipe.strategies.use(chosen.plan)
        return chosen

    def to_python(self, pipeline: str = "pipe") -> str:
        """Python that switches the best plan on."""
        return plan_to_python(self.best().plan, pipeline)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "format": FORMAT,
            "model": self.model,
            "workload": asdict(self.workload),
            "device": asdict(self.device),
            "budget": self.budget,
            "rows": [row.to_json() for row in self.rows],
            "approximate": self.approximate,
            "left_out": dict(self.left_out),
            "dtype": self.dtype,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PlanTable:
        """What `to_json` has written.

        Raises:
            ValueError: these are no plans.
        """
        rest = dict(validate(Mapping[str, Any], values, "the table of plans"))
        if (format_ := rest.pop("format", None)) != FORMAT:
            raise ValueError(
                f"the format is {format_!r}, not {FORMAT!r}; give what PlanTable.save has written."
            )
        return from_plain(cls, rest, "plans")

    def save(self, path: str | Path) -> None:
        """Write it as a JSON file, which is whole as soon as it is there.

        Raises:
            SaveError: the disk is full; a former file stays.
        """
        write_text(path, json.dumps(self.to_json(), indent=1))

    @classmethod
    def load(cls, path: str | Path) -> PlanTable:
        """Read what `save` has written.

        Raises:
            ValueError: the file holds no plans.
        """
        return cls.from_json(read_json(Path(path)))

    def _refusal(self) -> str:
        if not self.rows:
            return "There are no plans in this table; ask for some with dpnb.plan."
        least = self.least
        return (
            f"Nothing here draws {self.workload.describe()} with {format_bytes(self.budget)}; the "
            f"least that works is {format_bytes(least.peak)}, with {least.name}. Give that much, "
            "or draw smaller or fewer pictures at once."
        )

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that a run has."""
        return tuple(name for name in Stage if all(name in row.peaks for row in self.rows))

    @property
    def headings(self) -> tuple[str, ...]:
        """Of the table's columns."""
        peaks = (name.capitalize() for name in self.stages)
        return ("Plan", "Fits", "Peak", *peaks, "Step", "Picture", "Bound by")

    def cells(self, row: PlanRow) -> tuple[str, ...]:
        """A row as text, in the order of `headings`."""
        stages = (format_bytes(row.peaks[name]) for name in self.stages)
        most = "at most " if row.is_slowest else ""
        return (
            short_plan_name(row.plan),
            "yes" if self.fits(row) else "no",
            format_bytes(row.peak),
            *stages,
            most + format_seconds(row.seconds_per_step),
            most + format_seconds(row.seconds_per_picture),
            row.bound_by,
        )

    def in_full(self) -> PlanListing:
        """All plans, to be shown."""
        return PlanListing(self, shows_all=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield PlanListing(self)

    def _repr_html_(self) -> str:
        return PlanListing(self)._repr_html_()


@dataclass(frozen=True)
class PlanListing:
    """A table of plans as it is shown: those that none beats, or all.

    Args:
        table: the plans.
        shows_all: whether those are shown that others beat both in memory and in time.
        remedy: what shows them.
    """

    table: PlanTable
    shows_all: bool = False
    remedy: str = "in_full() of this table"

    @property
    def rows(self) -> tuple[PlanRow, ...]:
        """The plans that are shown."""
        front = {row.plan for row in self.table.front}
        return tuple(row for row in self.table.rows if self.shows_all or row.plan in front)

    @property
    def caption(self) -> str:
        """What was planned, and how many plans fit."""
        table = self.table
        dtype = "" if table.dtype is None else f" in {table.dtype}"
        fit = f"{len(table.fitting)} of {len(table.rows)} plans fit"
        return (
            f"{table.model}{dtype}, {table.workload.describe()}, on {table.device.describe()}: "
            f"{fit} in {format_bytes(table.budget)}; predicted"
        )

    def _remarks(self) -> Iterator[str]:
        table = self.table
        if not table.fitting:
            yield table._refusal()
        hidden = len(table.rows) - len(self.rows)
        if hidden:
            plans = f"{hidden} further plan{'s are' if hidden > 1 else ' is'}"
            yield f"{plans} no better than these in memory or time; {self.remedy} shows all."
        yield from self._remarks_on_reserve()
        for why in dict.fromkeys(table.left_out.values()):
            names = [name for name, reason in table.left_out.items() if reason == why]
            yield f"Left out: {', '.join(names)}. {why}"

    def _remarks_on_reserve(self) -> Iterator[str]:
        device, budget = self.table.device, self.table.budget
        if device.reserved:
            reserve, memory = format_bytes(device.reserved), format_bytes(device.memory)
            is_whole = budget >= device.memory - device.reserved
            kept = f"kept of the {memory} for" if is_whole else "needed beside that budget by"
            yield f"{reserve} are {kept} the card's context and libraries."

    def _cells(self) -> list[tuple[tuple[str, ...], bool]]:
        """The cells of the rows that are shown, and whether a row does not fit."""
        return [(self.table.cells(row), not self.table.fits(row)) for row in self.rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield terminal_table(
            self.caption,
            self.table.headings,
            self._cells(),
            width=options.max_width,
            text_columns=("Plan", "Fits", "Bound by"),
            optional_columns=tuple(name.capitalize() for name in self.table.stages),
        )
        from rich.text import Text

        yield from map(Text, self._remarks())

    def _repr_html_(self) -> str:
        return html_table(self.caption, self.table.headings, self._cells(), self._remarks())


def _cost(row: PlanRow) -> tuple[int, float]:
    return row.peak, row.seconds
