"""Frozen dataclasses as plain JSON values, and back, exactly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """`value` with dictionaries for dataclasses and lists for tuples."""
    if is_dataclass(value):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    return [to_plain(item) for item in value] if isinstance(value, tuple) else value


def from_plain(kind: type[T], values: object, name: str = "") -> T:
    """What `to_plain` has made of a `kind`.

    Args:
        kind: a dataclass whose fields are dataclasses, tuples of one type, or plain values.
        values: a dictionary with exactly its fields.
        name: where in a larger whole this is, for messages.

    Raises:
        ValueError: a field is missing, unknown or of the wrong type.
    """
    return cast(T, _parse(kind, values, name or kind.__name__))


def _parse(kind: Any, value: object, name: str) -> Any:
    if get_origin(kind) is tuple:
        items = _expect(list, value, name)
        return tuple(
            _parse(get_args(kind)[0], item, f"{name}[{i}]") for i, item in enumerate(items)
        )
    if is_dataclass(kind):
        return _parse_fields(kind, _expect(dict, value, name), name)
    if kind is float and type(value) is int:
        return float(value)
    return _expect(kind, value, name)


def _parse_fields(kind: Any, values: Mapping[str, Any], name: str) -> Any:
    hints = get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    if set(values) != set(known):
        raise ValueError(
            f"{name} has {', '.join(values) or 'nothing'}; it needs {', '.join(known)}."
        )
    return kind(**{key: _parse(hints[key], values[key], f"{name}.{key}") for key in known})


def _expect(kind: Any, value: Any, name: str) -> Any:
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if type(value) not in kinds:
        allowed = " or ".join(one.__name__ for one in kinds)
        raise ValueError(f"{name} is {value!r}; it must be {allowed}.")
    return value
