"""Numbers as people give them, read as Python's own: those of numpy and torch are numbers too.

Every public call reads its numbers here. What is none is refused in a sentence: a value of another
kind with TypeError, a number that breaks the rule with ValueError.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from ctypes import c_float
from dataclasses import Field, fields
from functools import cache
from typing import Any, Protocol, SupportsFloat, SupportsIndex, TypeVar, runtime_checkable

T = TypeVar("T")

Reader = Callable[[str, Any], Any]


@runtime_checkable
class Array(Protocol):
    """What the scalars and the arrays of numpy and torch have in common."""

    @property
    def dtype(self) -> Any:
        """The kind of number."""

    def tolist(self) -> Any:
        """Python's own numbers, in lists where there are several."""


def to_builtin(value: Any) -> Any:
    """`value`, or what is Python's own in the place of a scalar or an array: numbers, lists.

    A float of fewer than 8 bytes becomes the shortest decimal that it stands for, which is what was
    written: `np.float32(0.1)` is 0.1.
    """
    if type(value) in (int, float) or not isinstance(value, Array):
        return value
    own = value.tolist()
    return _decimals(own) if value.dtype.itemsize < 8 else own


def parse_int(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """`value` as an int.

    Args:
        name: what the message calls it.
        value: as it was given; a float may be whole too.
        least: the smallest that is allowed.
        most: the largest.

    Raises:
        TypeError: it is no number, or a boolean.
        ValueError: it is not whole, or out of bounds.
    """
    own = to_builtin(value)
    is_number = isinstance(own, (int, float, SupportsIndex)) and not isinstance(own, bool)
    is_whole = is_number and (not isinstance(own, float) or own.is_integer())
    if is_whole and _is_within(own, least, most):
        return int(own)
    message = _message(name, own, "a whole number", least, most, "8")
    raise ValueError(message) if is_number else TypeError(message)


def parse_number(
    name: str, value: Any, least: float | None = None, most: float | None = None
) -> float:
    """`value` as a finite float, or an int where it is one; see `parse_int`.

    Raises:
        TypeError: it is no number, or a boolean.
        ValueError: it is not finite, or out of bounds.
    """
    own = to_builtin(value)
    is_flag = isinstance(own, bool)
    is_number = isinstance(own, (int, float, SupportsIndex, SupportsFloat)) and not is_flag
    read: float = float(own) if is_number and not isinstance(own, (int, float)) else own
    if is_number and abs(read) <= sys.float_info.max and _is_within(read, least, most):
        return read
    message = _message(name, own, "a finite number", least, most, "0.5")
    raise ValueError(message) if is_number else TypeError(message)


def parse_bool(name: str, value: Any) -> bool:
    """`value` as a bool.

    Raises:
        TypeError: it is none.
    """
    own = to_builtin(value)
    if not isinstance(own, bool):
        raise TypeError(f"{name} is {reprlib.repr(own)}; it must be True or False.")
    return own


def parse_ints(name: str, values: Any, count: int | None = None) -> tuple[int, ...]:
    """Several numbers, each as `parse_int` reads it, in a sequence or an array.

    Args:
        name: what the message calls them.
        values: as they were given.
        count: how many there must be.

    Raises:
        TypeError: these are no numbers.
        ValueError: one is not whole, or there are fewer or more.
    """
    return _several(name, values, "whole numbers", parse_int, count)


def parse_numbers(name: str, values: Any) -> tuple[float, ...]:
    """Several numbers, each as `parse_number` reads it; see `parse_ints`."""
    return _several(name, values, "numbers", parse_number, None)


def coerce_numbers(values: Any) -> None:
    """Let the numbers of a frozen dataclass be Python's own, by the types that its fields declare.

    For its `__post_init__`. Text is left to fields that may be text, and `None` to those that may
    be `None`.

    Raises:
        TypeError: a field of numbers holds something else.
        ValueError: a number is not whole, or not finite.
    """
    kind: Any = type(values)
    for name, reader, alternatives in _readers(kind):
        value = getattr(values, name)
        if not isinstance(value, alternatives):
            object.__setattr__(values, name, reader(name, value))


def _several(
    name: str, values: Any, kind: str, reader: Callable[[str, Any], T], count: int | None
) -> tuple[T, ...]:
    own = to_builtin(values)
    if not isinstance(own, Iterable) or isinstance(own, (str, bytes, Mapping)):
        raise TypeError(f"{name} is {reprlib.repr(own)}; it must be a sequence of {kind}.")
    read = tuple(reader(f"an entry of {name}", entry) for entry in own)
    if count is not None and len(read) != count:
        raise ValueError(f"{name} is {reprlib.repr(own)}; it must be {count} {kind}.")
    return read


def _is_within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


def _message(
    name: str, value: Any, kind: str, least: float | None, most: float | None, example: str
) -> str:
    if least is not None and most is not None:
        rule = f"{kind} from {least} to {most}"
    elif least is not None:
        rule = f"{kind} of at least {least}"
    else:
        rule = f"{kind}, such as {example}"
    return f"{name} is {reprlib.repr(value)}; it must be {rule}."


def _decimals(own: Any) -> Any:
    if isinstance(own, list):
        return [_decimals(item) for item in own]
    return _decimal(own) if isinstance(own, float) else own


def _decimal(value: float) -> float:
    """The shortest decimal that is `value` in four bytes."""
    candidates = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((near for near in candidates if c_float(near).value == value), value)


def _pair(name: str, values: Any) -> tuple[int, ...]:
    return parse_ints(name, values, 2)


_READERS: dict[str, Reader] = {
    "int": parse_int,
    "float": parse_number,
    "bool": parse_bool,
    "tuple[int, int]": _pair,
    "tuple[float, ...]": parse_numbers,
    "Sequence[float]": parse_numbers,
}
_ALTERNATIVES: dict[str, type] = {"None": type(None), "str": str}


@cache
def _readers(kind: Any) -> list[tuple[str, Reader, tuple[type, ...]]]:
    """The fields of a dataclass that hold numbers, how to read each, and what else it may be."""
    found = []
    for field in fields(kind):
        members = _members(field)
        readers = [_READERS[member] for member in members if member in _READERS]
        others = tuple(_ALTERNATIVES[member] for member in members if member in _ALTERNATIVES)
        if readers:
            found.append((field.name, readers[0], others))
    return found


def _members(field: Field[Any]) -> list[str]:
    """The types that a field declares, as they are written."""
    declared: Any = field.type
    return (declared.__name__ if isinstance(declared, type) else str(declared)).split(" | ")
