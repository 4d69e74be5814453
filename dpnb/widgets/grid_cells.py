"""The cells of a grid: what to draw in each, all of it checked before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from dpnb.errors import StrategyError
from dpnb.pipelines.call_arguments import PLUMBING, ArgumentKind, CallSignature
from dpnb.pipelines.explorable import ExplorablePipeline
from dpnb.pipelines.settings.scheduler_settings import exchange_scheduler
from dpnb.strategies.strategy import Plan, Strategy, check
from dpnb.widgets.literals import describe_value
from dpnb.widgets.run_words import describe_plan
from dpnb.widgets.scheduler_choice import choose_scheduler
from dpnb.widgets.state import Request

FIELDS = (
    "prompt",
    "negative_prompt",
    "steps",
    "guidance_scale",
    "seed",
    "width",
    "height",
    "scheduler",
    "strength",
)
"""What a request calls by a name of its own."""

STRATEGIES = "strategies"

SIDES = 2

PICTURES = frozenset({ArgumentKind.PICTURE, ArgumentKind.PICTURES, ArgumentKind.VIDEO})


@dataclass(frozen=True)
class GridAxis:
    """What varies along one side of a grid.

    Args:
        name: of the argument; empty where nothing varies.
        values: one for each row or column.
        labels: what to write beside each.
    """

    name: str = ""
    values: tuple[Any, ...] = (None,)
    labels: tuple[str, ...] = ("",)


@dataclass(frozen=True)
class GridCell:
    """What to draw in one place of a grid.

    Args:
        row: from 0.
        column: from 0.
        request: what to ask for.
        plan: what to switch on; `None` leaves what is on.
    """

    row: int
    column: int
    request: Request
    plan: Plan | None = None


@dataclass(frozen=True)
class GridLayout:
    """The cells of a grid, row by row, and what varies.

    Args:
        down: what differs from row to row.
        across: what differs from column to column.
        cells: in the order in which they are drawn.
        title: what all of them have in common, in words.
    """

    down: GridAxis
    across: GridAxis
    cells: tuple[GridCell, ...]
    title: str = ""

    def __iter__(self) -> Iterator[GridCell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)


def lay_out_grid(pipe: ExplorablePipeline, arguments: Mapping[str, Any]) -> GridLayout:
    """The cells of a grid over the arguments that are lists.

    Nothing is drawn or changed.

    Args:
        pipe: what draws it.
        arguments: fields of a request, `strategies`, and further arguments of the pipeline's call;
            of those that are lists the first one varies down, the second one across.

    Raises:
        TypeError: an argument is unknown or given twice, or one of its values is of another kind.
        ValueError: more than two are lists, a list is empty, or a value is impossible.
        StrategyError: a strategy cannot be switched on here.
    """
    signature = pipe.call_signature
    given = _name_fields(arguments, signature)
    _check_names(given, signature)
    lists = {name: value for name, value in given.items() if isinstance(value, list)}
    _check_lists(lists)
    axes = [GridAxis(name, *_read_axis(name, values)) for name, values in lists.items()]
    down, across, *_ = (*axes, GridAxis(), GridAxis())
    fixed = {name: value for name, value in given.items() if name not in lists}
    cells = tuple(
        _make_cell(row, column, {**fixed, down.name: one, across.name: other}, signature)
        for row, one in enumerate(down.values)
        for column, other in enumerate(across.values)
    )
    _check_cells(pipe, cells)
    return GridLayout(down, across, cells, _describe_fixed(fixed))


def _name_fields(arguments: Mapping[str, Any], signature: CallSignature) -> dict[str, Any]:
    """The arguments under the names of a request's fields, where they have such."""
    named = {"steps": signature.steps, "guidance_scale": signature.guidance}
    names = {one.name: field for field, one in named.items() if one is not None}
    given: dict[str, Any] = {}
    for name, value in arguments.items():
        field = names.get(name, name)
        if field in given:
            other = next(one for one, known in names.items() if known == field)
            raise TypeError(f"{field} is given twice, also as {other}; give it once.")
        given[field] = value
    return given


def _check_names(given: Mapping[str, Any], signature: CallSignature) -> None:
    """Refuse arguments that the pipeline or a grid does not take."""
    count = "count" if signature.count is None else signature.count.name
    for name in given:
        if name in ("count", count):
            raise ValueError(
                f"{name} is given, but a cell shows one picture; vary the seed instead."
            )
        if name == "generator":
            raise ValueError("generator is given; give seed instead, a number or a list of them.")
        if name in PLUMBING:
            raise ValueError(f"{name} is not for a grid, which shows pictures; leave it out.")
    there = {
        "steps": signature.steps,
        "guidance_scale": signature.guidance,
        "seed": signature.find("generator"),
    }
    taken = {name for name in FIELDS if (there.get(name) or signature.find(name)) is not None}
    own = [*(name for name in FIELDS if name in taken), "scheduler", STRATEGIES]
    known = {*own, *(one.name for one in signature)}
    unknown = [n for n in given if n not in known and (n in FIELDS or not signature.is_open)]
    if unknown:
        raise TypeError(
            f"{', '.join(unknown)} is not an argument of this pipeline's grids; they take "
            f"{', '.join(dict.fromkeys([*own, *(a.name for a in signature.settings)]))}."
        )


def _check_lists(lists: Mapping[str, list[Any]]) -> None:
    if len(lists) > SIDES:
        raise ValueError(
            f"{', '.join(lists)} are lists, but a grid varies two arguments at most; give one "
            f"value for {[*lists][SIDES]}."
        )
    for name, values in lists.items():
        if not values:
            raise ValueError(f"{name} is an empty list; give it one value or several.")


def _read_axis(name: str, values: list[Any]) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The values of an axis and their labels."""
    if name == STRATEGIES:
        plans = tuple(_read_plan(one) for one in values)
        return plans, tuple(describe_plan(one) for one in plans)
    return tuple(values), tuple(_label(name, one, place) for place, one in enumerate(values))


def _label(name: str, value: Any, place: int) -> str:
    if name == "prompt":
        return str(value)
    if name == "scheduler":
        return str(value).removesuffix("Scheduler")
    words = name.removeprefix("num_").replace("_", " ")
    if isinstance(value, Image.Image):
        return f"{words} {place + 1}"
    return f"{words} {value if isinstance(value, str) else describe_value(value)}".strip()


def _read_plan(given: Any) -> Plan:
    """A plan, given as strategies or as one alone.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(given, (Strategy, Iterable)) or isinstance(given, (str, Mapping)):
        raise TypeError(
            f"{given!r} is no plan; give strategies in a list for each, as in "
            "strategies=[[], [dpnb.FreeU()]]."
        )
    entries = [given] if isinstance(given, Strategy) else list(given)
    check(entries)
    return frozenset(entries)


def _make_cell(
    row: int, column: int, values: Mapping[str, Any], signature: CallSignature
) -> GridCell:
    fields = {name: values[name] for name in FIELDS if values.get(name) is not None}
    fields.setdefault("prompt", "")
    for name in ("prompt", "negative_prompt"):
        if not isinstance(fields.get(name, ""), str):
            raise TypeError(f"{name} is {fields[name]!r}; it must be text, or a list of texts.")
    others = {n: v for n, v in values.items() if n and n not in (*FIELDS, STRATEGIES)}
    kinds = {one.name: one.kind for one in signature}
    pictures = {n: v for n, v in others.items() if kinds.get(n) in PICTURES}
    more = {name: value for name, value in others.items() if name not in pictures}
    request = Request(**fields, pictures=tuple(pictures.items()), more=tuple(more.items()))
    given = values.get(STRATEGIES)
    return GridCell(row, column, request, None if given is None else _read_plan(given))


def _check_cells(pipe: ExplorablePipeline, cells: Iterable[GridCell]) -> None:
    """Refuse what cannot be drawn, as far as that is known before."""
    signature = pipe.call_signature
    for plan in {cell.plan for cell in cells if cell.plan is not None}:
        for strategy in plan - pipe.strategies.active:
            if (obstacle := pipe.strategies.obstacle(strategy)) is not None:
                raise StrategyError(obstacle)
    for cell in cells:
        with exchange_scheduler(pipe, choose_scheduler(pipe.scheduler, cell.request.scheduler)):
            pipe.make_run(**cell.request.arguments(signature))


def _describe_fixed(fixed: Mapping[str, Any]) -> str:
    """What all cells have in common, in words."""
    shown = {n: v for n, v in fixed.items() if not (v is None or (isinstance(v, str) and not v))}
    shown.pop(STRATEGIES, None)
    return ", ".join(_label(name, value, 0) for name, value in shown.items())
