"""Plain JSON values validated by types: dataclasses and their fields, one by one.

What is read from files goes through here, so that a wrong value is named where it is read, and not
by whatever fails over it later.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin
from typing import get_type_hints as type_hints

from typing_extensions import override

T = TypeVar("T")


@dataclass(frozen=True)
class Range:
    """Bounds of a number, for `Annotated[int, Range(1, 100)]`; both belong to it.

    Args:
        low: the least.
        high: the most.
    """

    low: float
    high: float

    def __contains__(self, number: float) -> bool:
        return self.low <= number <= self.high

    @override
    def __str__(self) -> str:
        return f"from {self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Parsed:
    """What makes a value out of a plain one, for `Annotated[Kind, Parsed(parse)]`.

    Args:
        parse: raises ValueError where it cannot.
    """

    parse: Callable[[Any], Any]


USUAL = Range(-(2.0**63), 2.0**63)
"""The bounds of numbers that declare none."""


def to_plain(value: Any) -> Any:
    """`value` with dictionaries for dataclasses, lists for tuples, words for enumerations."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    return [to_plain(item) for item in value] if isinstance(value, tuple) else value


def from_plain(kind: type[T], values: object, name: str = "") -> T:
    """What `to_plain` has made of a `kind`.

    Args:
        kind: a dataclass whose fields are of types that `validate` knows.
        values: a dictionary with its fields; those that have a default may be missing.
        name: where in a larger whole this is, for messages.

    Raises:
        ValueError: a field is missing, unknown, of the wrong type, or out of bounds.
    """
    return cast(T, validate(kind, values, name or kind.__name__))


def validate(kind: Any, value: Any, name: str) -> Any:
    """`value` as the type `kind`: lists as tuples, whole numbers as floats and the other way round.

    Args:
        kind: int, float, bool, str, None, a `Literal` (of whose members' types it must be), an
            enumeration (by its values), a tuple, a mapping by str, a union, a dataclass, `Any`, or
            one of them with a `Range` or `Parsed`.
        value: to be checked.
        name: what to call it in messages.

    Raises:
        ValueError: it is of another type, or out of bounds.
    """
    found = _try(kind, value, name)
    if isinstance(found, _Refused):
        shown = repr(value)
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        raise ValueError(f"{name} is {shown}; it must be {found.wanted}.")
    return found


def parse_names(name: str, value: Any, wanted: str) -> tuple[str, ...]:
    """Names in whatever form they are given: of one, as text, or of several.

    Args:
        name: what the message calls them.
        value: as they were given.
        wanted: what they must be, for messages.

    Raises:
        TypeError: these are no names.
        ValueError: one of them is empty.
    """
    is_several = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    names = tuple(value) if is_several else (value,)
    if not all(isinstance(one, str) for one in names):
        raise TypeError(f"{name} is {reprlib.repr(value)}; give {wanted}.")
    if "" in names:
        raise ValueError(f"{name} has a name without letters; give {wanted}, or leave {name} out.")
    return tuple(sorted(names)) if isinstance(value, Set) else names


@cache
def hints_of(kind: Any) -> Mapping[str, Any]:
    """The declared types of a class's attributes."""
    return type_hints(kind, include_extras=True)


@dataclass(frozen=True)
class _Refused:
    wanted: str


def _try(kind: Any, value: Any, name: str) -> Any:
    """`value` as the type `kind`, or what it must be instead."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        rule = arguments[1]
        parses = isinstance(rule, Parsed)
        return rule.parse(value) if parses else _bounded(arguments[0], rule, value)
    if origin in (Union, UnionType):
        return _one_of(arguments, value, name)
    if origin is tuple:
        return _tuple(arguments, value, name)
    if origin is Literal:
        return value if type(value) in map(type, arguments) else _Refused(_listed(arguments))
    if isinstance(kind, type) and issubclass(kind, Enum):
        words = tuple(member.value for member in kind)
        return kind(value) if value in words else _Refused(_listed(words))
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(arguments[1], value, name)
    if is_dataclass(kind):
        return _fields(kind, value, name) if isinstance(value, Mapping) else _Refused("dict")
    if kind in (int, float):
        found = _number(kind, value)
        is_usual = isinstance(found, _Refused) or found in USUAL
        return found if is_usual else _Refused(f"{kind.__name__} {USUAL}")
    return value if kind in (Any, object) or type(value) is kind else _Refused(_called(kind))


def _bounded(kind: Any, bounds: Range, value: Any) -> Any:
    found = _number(kind, value)
    is_within = not isinstance(found, _Refused) and found in bounds
    return found if is_within else _Refused(f"{kind.__name__} {bounds}")


def _one_of(kinds: Iterable[Any], value: Any, name: str) -> Any:
    wanted = []
    exact = sorted(kinds, key=lambda kind: type(value) is not kind)
    for kind in exact:
        found = _try(kind, value, name)
        if not isinstance(found, _Refused):
            return found
        wanted.append((kind, found.wanted))
    return _Refused(" or ".join(dict(wanted)[kind] for kind in kinds))


def _tuple(kinds: tuple[Any, ...], value: Any, name: str) -> Any:
    items = _items(value)
    is_open = len(kinds) == 2 and kinds[1] is ...
    if items is None or not (is_open or len(items) == len(kinds)):
        return _Refused("list" if is_open else f"list of {len(kinds)}")
    wanted = kinds[:1] * len(items) if is_open else kinds
    pairs = zip(wanted, items, strict=True)
    return tuple(validate(kind, item, f"{name}[{i}]") for i, (kind, item) in enumerate(pairs))


def _items(value: Any) -> list[Any] | tuple[Any, ...] | None:
    """The items of a list, or of an array of one axis."""
    if isinstance(value, (list, tuple)):
        return value
    is_array = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    return list(value) if is_array else None


def _mapping(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, Mapping):
        return _Refused("dict")
    return {str(key): validate(kind, item, f"{name}.{key}") for key, item in value.items()}


def _fields(kind: Any, values: Mapping[str, Any], name: str) -> Any:
    hints = hints_of(kind)
    known = {field.name: field for field in fields(kind)}
    needed = [
        key
        for key, field in known.items()
        if field.default is MISSING and field.default_factory is MISSING
    ]
    if not values.keys() <= known.keys() or not values.keys() >= set(needed):
        raise ValueError(
            f"{name} has {', '.join(map(str, values)) or 'nothing'}; it needs {', '.join(known)}."
        )
    return kind(
        **{key: validate(hints[key], value, f"{name}.{key}") for key, value in values.items()}
    )


def _number(kind: Any, value: Any) -> Any:
    """`value` as an int or float, whatever kind of whole or real number it is."""
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or (kind is int and not isinstance(value, Integral) and value % 1 != 0):
        return _Refused(kind.__name__)
    try:
        return kind(value)
    except OverflowError:
        return _Refused(kind.__name__)


def _called(kind: Any) -> str:
    return "None" if kind is NoneType else str(kind.__name__)


def _listed(choices: Iterable[Any]) -> str:
    return f"one of {', '.join(map(repr, choices))}"
