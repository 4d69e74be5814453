"""Plans with what they are predicted to cost."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpnb.atomic import write_text
from dpnb.errors import DpnbError
from dpnb.fidelity.visibility import Visibility, parse_max_difference, words_for
from dpnb.files import read_json
from dpnb.numbers import coerce_numbers, parse_int
from dpnb.planning.card_memory import CARD_HEADINGS, NEEDED
from dpnb.planning.device_profile import DeviceProfile
from dpnb.planning.picture_costs import ComparedPlans, PictureCosts, read_picture_costs
from dpnb.planning.plan_names import plan_name, short_plan_name
from dpnb.planning.plan_row import PlanRow as PlanRow
from dpnb.planning.plan_row import cost_of
from dpnb.planning.room_left import describe_shortage
from dpnb.planning.table_words import UNKNOWN_PICTURES, explain_hidden, explain_refusal
from dpnb.planning.ties import TIE, find_front, group_ties
from dpnb.planning.workload import Workload
from dpnb.stages import Stage
from dpnb.strategies.plans import plan_to_python
from dpnb.strategies.strategy import Strategy
from dpnb.tables import html_table, terminal_table
from dpnb.units import format_bytes, format_seconds
from dpnb.validation import from_plain, validate

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

    from dpnb.pipelines.explorable import ExplorablePipeline

FORMAT = "dpnb plans 1"

CARD_WIDTH = 168
"""Characters of a line that has room for all columns of a card's plans."""


class PlanError(DpnbError, ValueError):
    """No plan does what was asked; the message says what would."""


@dataclass(frozen=True)
class PlanTable:
    """Every plan, the best that fits first. All figures are predictions.

    Attributes:
        model: what was planned for.
        workload: what is drawn.
        device: that would compute.
        budget: bytes: of a card, all that a run needs there; on the CPU, of its tensors.
        rows: those that fit by time, and by what they need where times differ by less
            than a hundredth; then the others by what they need.
        approximate: whether plans may change the picture.
        left_out: strategies that are in no plan, and why.
        dtype: of the weights.
        max_difference: the most that a plan may do to the picture (`difference_size`), if anything.
        measured_with: what was drawn where that was measured, if it was something else.
    """

    model: str
    workload: Workload
    device: DeviceProfile
    budget: int
    rows: tuple[PlanRow, ...]
    approximate: bool = False
    left_out: Mapping[str, str] = field(default_factory=dict)
    dtype: str | None = None
    max_difference: float | None = None
    measured_with: str | None = None

    def __post_init__(self) -> None:
        coerce_numbers(self)
        parse_int("budget", self.budget, least=0)

    def __iter__(self) -> Iterator[PlanRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def fits(self, row: PlanRow) -> bool:
        """Whether a plan stays within the budget, and its picture within what is allowed."""
        return row.needed <= self.budget and self.keeps_picture(row)

    def may_fit(self, row: PlanRow) -> bool:
        """Whether a plan fits, or would if a card's allocator kept nothing that is unused."""
        return row.least_needed <= self.budget and self.keeps_picture(row)

    def keeps_picture(self, row: PlanRow) -> bool:
        """Whether a plan is known to do no more to the picture than is allowed."""
        if self.max_difference is None or row.is_exact:
            return True
        return row.difference is not None and row.difference <= self.max_difference

    @property
    def fitting(self) -> tuple[PlanRow, ...]:
        """The plans that stay within the budget, the fastest first."""
        return tuple(row for row in self.rows if self.fits(row))

    @property
    def front(self) -> tuple[PlanRow, ...]:
        """The plans that none beats both in memory and in time, by memory.

        Of those that are as fast as each other only the least is among them.
        """
        found = find_front(self.fitting, cost_of)
        fastest = min((row.seconds for row in found), default=math.inf)
        larger = find_front((row for row in self.rows if not self.fits(row)), cost_of)
        return (*found, *(row for row in larger if (1 + TIE) * row.seconds < fastest))

    @property
    def least(self) -> PlanRow:
        """The plan that needs least, of those whose pictures are within what is allowed.

        Where that is none, of all.
        """
        kept = [row for row in self.rows if self.keeps_picture(row)] or self.rows
        return min(kept, key=cost_of)

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
            budget: bytes: of a card, all that a run needs there; on the CPU, of its tensors.
        """
        other = replace(self, budget=budget)
        few_first = sorted(self.rows, key=lambda row: len(row.plan))
        fitting = group_ties((row for row in few_first if other.fits(row)), cost_of)
        rest = sorted((row for row in few_first if not other.fits(row)), key=cost_of)
        return replace(other, rows=(*chain.from_iterable(fitting), *rest))

    def limited(
        self, max_difference: float | str | None, measured: ComparedPlans | PictureCosts | None
    ) -> PlanTable:
        """The same plans with what they do to the picture, and how much of that is allowed.

        Args:
            max_difference: 0 to 1, or a word such as "not visible side by side"; `None` for all.
            measured: a report of a sweep with quality, of the same model.

        Raises:
            ValueError: the limit is neither, or the report is of another model.
            TypeError: likewise.
        """
        most = None if max_difference is None else parse_max_difference(max_difference)
        costs = read_picture_costs(self.model, measured)
        rows = tuple(replace(row, difference=costs.predict(row.plan)) for row in self.rows)
        other = costs.describe_other(self.workload, self.dtype)
        limited = replace(self, rows=rows, max_difference=most, measured_with=other)
        return limited.within(self.budget)

    def best(self) -> PlanRow:
        """The fastest plan that stays within the budget; of several, what needs least memory.

        Raises:
            PlanError: none does; the message says what would work.
        """
        if not self.fitting:
            raise PlanError(self.refusal)
        return self.fitting[0]

    def apply(self, pipe: ExplorablePipeline, row: PlanRow | None = None) -> PlanRow:
        """Switch exactly one plan on.

        Args:
            pipe: the pipeline.
            row: which plan; the best by default.

        Returns:
            It.

        Raises:
            PlanError: none stays within the budget, or others have taken its memory since.
            StrategyError: it cannot be switched on here; nothing has changed then.
        """
        chosen = self.best() if row is None else row
        if shortage := describe_shortage(self.device, chosen, pipe):
            raise PlanError(shortage)
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
            "max_difference": self.max_difference,
            "measured_with": self.measured_with,
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

    @property
    def refusal(self) -> str:
        """Why none does what is asked for, where that is so, and what would."""
        is_kept = any(map(self.keeps_picture, self.rows))
        picture = None if self.max_difference is None else self.words
        least, drawn = self.least if is_kept else None, self.workload.describe()
        return explain_refusal(self.rows, least, self.budget, drawn, picture)

    @property
    def words(self) -> str:
        """How much plans may do to the picture."""
        if self.max_difference is None:
            return str(Visibility.ANOTHER)
        return f'"{words_for(self.max_difference)}" (FLIP {self.max_difference:g})'

    @property
    def plain(self) -> PlanRow | None:
        """The plan without strategies, if it is among these."""
        return next((row for row in self.rows if not row.plan), None)

    @property
    def stages(self) -> tuple[str, ...]:
        """Those that a run has."""
        return tuple(name for name in Stage if all(name in row.peaks for row in self.rows))

    @property
    def headings(self) -> tuple[str, ...]:
        """Of the table's columns."""
        peaks = (name.capitalize() for name in self.stages)
        costs = ("Step", "Time", "FLIP", "Picture", "Pays with", "Bound by")
        card = CARD_HEADINGS if self.is_for_card else ()
        return ("Plan", "Fits", "Peak", *card, *peaks, *costs)

    @property
    def is_for_card(self) -> bool:
        """Whether every plan says what it takes of a card."""
        return bool(self.rows) and all(row.memory is not None for row in self.rows)

    def cells(self, row: PlanRow) -> tuple[str, ...]:
        """A row as text, in the order of `headings`."""
        stages = (format_bytes(row.peaks[name]) for name in self.stages)
        step = format_seconds(row.seconds_per_step)
        return (
            short_plan_name(row.plan),
            "yes" if self.fits(row) else "perhaps" if self.may_fit(row) else "no",
            format_bytes(row.peak),
            *(row.memory.cells() if self.is_for_card and row.memory is not None else ()),
            *stages,
            f"at most {step}" if row.is_slowest else step,
            row.describe_time(),
            *row.picture_cells(),
            "" if self.plain is None else row.describe_price(self.plain),
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
        kept = "" if table.max_difference is None else f", within {table.words}"
        return (
            f"{table.model}{dtype}, {table.workload.describe()}, on {table.device.describe()}: "
            f"{fit} in {format_bytes(table.budget)}{kept}; predicted"
        )

    def _remarks(self) -> Iterator[str]:
        table = self.table
        if not table.fitting:
            yield table.refusal
        shown = {row.plan for row in self.rows}
        hidden = [table.keeps_picture(row) for row in table.rows if row.plan not in shown]
        yield from explain_hidden(hidden, self.remedy)
        if any(row.difference is None and not row.is_exact for row in table.rows):
            yield UNKNOWN_PICTURES
        if table.measured_with is not None:
            yield f"What plans do to the picture was measured with {table.measured_with}."
        if table.is_for_card:
            yield NEEDED
        yield from table.device.describe_holders()
        for why in dict.fromkeys(table.left_out.values()):
            names = [name for name, reason in table.left_out.items() if reason == why]
            yield f"Left out: {', '.join(names)}. {why}"

    def _cells(self) -> list[tuple[tuple[str, ...], bool]]:
        """The cells of the rows that are shown, and whether a row does not fit."""
        return [(self.table.cells(row), not self.table.fits(row)) for row in self.rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        is_narrow = self.table.is_for_card and options.max_width < CARD_WIDTH
        yield terminal_table(
            self.caption,
            self.table.headings,
            self._cells(),
            width=0 if is_narrow else options.max_width,
            text_columns=("Plan", "Fits", "Picture", "Pays with", "Bound by"),
            optional_columns=(
                *map(str.capitalize, self.table.stages),
                "Picture",
                "Bound by",
                *(("Peak", *CARD_HEADINGS[:-1]) if self.table.is_for_card else ()),
            ),
        )
        from rich.text import Text

        yield from map(Text, self._remarks())

    def _repr_html_(self) -> str:
        return html_table(self.caption, self.table.headings, self._cells(), self._remarks())
