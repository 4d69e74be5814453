"""What a person may set of a strategy: its fields, with labels, kinds of value and limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from inspect import get_annotations
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from dpnb.strategies.networks import Networks
from dpnb.strategies.strategy import Strategy

KEY = "dpnb.setting"

WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+")
"""The words of a class's name: `QKVFusion` has two."""

ABBREVIATIONS = {"vae", "qkv"}

Limits = Callable[[Networks], tuple[float, float]]


@dataclass(frozen=True)
class Hints:
    """What a field's type does not say; goes into the field's metadata by `hints`.

    Args:
        label: a word or two; the field's name by default.
        low: the least that makes sense, of a number.
        high: the most that makes sense.
        step: from one number to the next.
        limits: the least and the most for the networks at hand, where these decide.
        unit: `"bytes"`, or nothing.
        choices: what else may be chosen than the type says.
    """

    label: str = ""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    limits: Limits | None = None
    unit: Literal["", "bytes"] = ""
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Setting:
    """One field of a strategy, as a person sets it.

    Args:
        name: of the field.
        label: what to call it.
        default: its value where nobody has set it.
        choices: values that are named one by one.
        number: `int` or `float` where it may be a number.
        is_flag: whether it is true or false.
        is_optional: whether `None` may be chosen, which leaves the choice to the strategy.
        is_text: whether it may be text, or a tuple written as text.
        hints: limits, step and unit.
        help: what the strategy's documentation says of it.
    """

    name: str
    label: str
    default: Any
    choices: tuple[Any, ...]
    number: type[int] | type[float] | None
    is_flag: bool
    is_optional: bool
    is_text: bool
    hints: Hints
    help: str

    @property
    def is_advanced(self) -> bool:
        """Whether only text can say it, which few people need."""
        return self.is_text and not self.choices and self.number is None


def hints(
    label: str = "",
    low: float | None = None,
    high: float | None = None,
    step: float | None = None,
    limits: Limits | None = None,
    unit: Literal["", "bytes"] = "",
    choices: tuple[Any, ...] = (),
) -> Mapping[str, Any]:
    """Metadata for `dataclasses.field`; see `Hints`."""
    return {KEY: Hints(label, low, high, step, limits, unit, choices)}


def list_settings(kind: type[Strategy]) -> tuple[Setting, ...]:
    """The settings of a strategy, in the order of its fields."""
    # typing.get_type_hints refuses a ClassVar of unsaid type on Python 3.10.
    types = dict(
        item
        for ancestor in reversed(kind.__mro__)
        for item in get_annotations(ancestor, eval_str=True).items()
    )
    return tuple(
        _setting(kind, field.name, types[field.name], field.default, field.metadata.get(KEY))
        for field in fields(kind)
    )


def list_presets(kind: type[Strategy]) -> dict[str, Strategy]:
    """The named settings that a strategy offers, by what its class calls them."""
    return {label: getattr(kind, name)() for name, label in kind.presets.items()}


def strategy_label(kind: type[Strategy]) -> str:
    """What to call a strategy: `"Attention slicing"`."""
    if kind.label:
        return kind.label
    first, *others = WORDS.findall(kind.__name__)
    first = first.upper() if first.lower() in ABBREVIATIONS else first
    return " ".join([first, *(word if word.isupper() else word.lower() for word in others)])


def describe_strategy(strategy: Strategy) -> str:
    """A strategy and what is set of it, in words: `"Attention slicing (max)"`."""
    parts = [
        _describe_setting(setting, getattr(strategy, setting.name))
        for setting in list_settings(type(strategy))
        if getattr(strategy, setting.name) != setting.default
    ]
    label = strategy_label(type(strategy))
    return f"{label} ({', '.join(parts)})" if parts else label


def _describe_setting(setting: Setting, value: Any) -> str:
    if setting.is_flag:
        return setting.label if value else f"no {setting.label}"
    if isinstance(value, str) and value in setting.choices:
        return value
    return f"{setting.label} {value}"


def _setting(
    kind: type[Strategy], name: str, annotation: Any, default: Any, given: Hints | None
) -> Setting:
    found = given or Hints()
    union = get_origin(annotation) in (Union, UnionType)
    members = get_args(annotation) if union else (annotation,)
    literals = [m for m in members if get_origin(m) is Literal]
    choices = tuple(value for literal in literals for value in get_args(literal))
    numbers = [m for m in members if m in (int, float)]
    known = {bool, int, float, NoneType}
    return Setting(
        name=name,
        label=found.label or name.replace("_", " "),
        default=default,
        choices=choices + found.choices,
        number=numbers[0] if numbers else None,
        is_flag=bool in members,
        is_optional=NoneType in members,
        is_text=not found.choices
        and any(m not in known and get_origin(m) is not Literal for m in members),
        hints=found,
        help=_help(kind, name),
    )


def _help(kind: type[Strategy], name: str) -> str:
    pattern = rf"^\s+{name}: (.*?)(?=^\s+\w+: |^\s*$|\Z)"
    match = re.search(pattern, kind.__doc__ or "", re.MULTILINE | re.DOTALL)
    return " ".join(match.group(1).split()).replace("`", "") if match else ""
