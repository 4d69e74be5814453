"""Which settings nobody gave, in a dictionary that may have been changed since."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from typing_extensions import override


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


def leave_out_defaults(
    settings: Mapping[str, Any], names: Collection[str], defaulted: object
) -> dict[str, Any]:
    """Those of `settings` that somebody gave.

    Args:
        settings: by name.
        names: of those that nobody had given.
        defaulted: where the names are from; `Defaults` know which value each had.
    """
    values = defaulted.values if isinstance(defaulted, Defaults) else {}
    return {
        name: value
        for name, value in settings.items()
        if name not in names or (name in values and not _is_same(value, values[name]))
    }


def _is_same(value: Any, other: Any) -> bool:
    return value is other or (type(value) is type(other) and bool(value == other))
