"""Which settings nobody gave, in a dictionary that may have been changed since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from dpnb.validation import validate

DEFAULTED = "_use_default_values"
"""Where a dictionary of settings says which of them nobody gave."""


class Defaults(list[str]):
    """The names of the settings that nobody gave, and their values at that time.

    A dictionary of the entries in which one of them has another value since has been given it.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self.values = values

    @override
    def __reduce__(self) -> tuple[Any, ...]:
        return Defaults, (self.values,)


def leave_out_defaults(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `settings` that somebody gave, by what stands under `_use_default_values`.

    Raises:
        ValueError: that is no list of names.
    """
    asked = settings.get(DEFAULTED)
    names = validate(tuple[str, ...] | None, asked, DEFAULTED) or ()
    values = asked.values if isinstance(asked, Defaults) else {}
    return {
        name: value
        for name, value in settings.items()
        if name not in names or (name in values and not _is_same(value, values[name]))
    }


def _is_same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is type(other) and bool(value == other))
